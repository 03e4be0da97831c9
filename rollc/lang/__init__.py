"""Text to a checked graph: the language of specs, and messages about what is wrong."""
