"""Risk: how large an order may be, whether it may leave at all, and why not. Pure: no I/O, no clock."""
