"""A network step by step, and with parameters that are prepared once."""
