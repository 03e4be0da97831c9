"""What became of each node in a kernel, and why."""
