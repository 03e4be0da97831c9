"""A program run in NumPy, with no code made of it."""
