"""Names, sizes and functions that a spec can call."""
