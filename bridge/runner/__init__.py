"""The runner: definitions at work on live bars, from ticks to signals; loaded only where one is enabled."""
