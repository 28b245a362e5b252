"""Reports: figures of what was traded, from plain numbers."""
