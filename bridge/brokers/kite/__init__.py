"""Zerodha Kite Connect v3: an account at the real broker, by the vendor's own client. Loads only where one is configured."""
