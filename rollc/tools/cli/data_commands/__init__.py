"""Commands that take a user's data: what is run, fitted, judged and sampled."""
