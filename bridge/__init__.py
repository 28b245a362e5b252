"""A self-hosted bridge from TradingView alerts to brokers."""

__version__ = "0.1.0"
