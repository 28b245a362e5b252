"""Durable state: tables, the one writer, and reads; takes and returns core values."""
