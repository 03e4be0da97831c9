"""Which graph each entry point of a network computes, and the passes that make it."""
