"""A loopback Kite Connect v3: orders with their states, market data, a stream, and every failure on demand."""
