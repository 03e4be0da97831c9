"""``train``: its options, its fits, and what they show on the way."""
