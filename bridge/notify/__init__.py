"""Notifications: what the audit tells goes out to a person, beside trading and never in its way."""
