"""The scanner: signals of our own from bars, by the way every alert takes; numpy, and nothing else from outside."""
