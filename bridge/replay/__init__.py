"""Replay: recorded bars or alerts through the bridge as it is, on a clock of its own and a paper account of its own."""
