"""The adapter of Zerodha Kite Connect."""
