"""The commands of `bridge`, one module per group; cli.py says which, and loads only that one."""
