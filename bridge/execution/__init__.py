"""From an approved intent to the end of an order: the outbox, its lanes, and what brokers report."""
