"""Bars: history stored once, and read as arrays. Nothing here is loaded by a bridge that has no scans."""
