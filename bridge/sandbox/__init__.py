"""Brokers to rehearse with: programs that speak a real broker's own protocol, on this machine only."""
