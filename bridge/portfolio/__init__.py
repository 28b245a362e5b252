"""Books from fills alone: positions, trades, the day's profit and loss."""
