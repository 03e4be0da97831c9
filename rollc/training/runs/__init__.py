"""A fit from its beginning to its end, and what it leaves behind."""
