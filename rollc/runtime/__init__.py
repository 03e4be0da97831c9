"""The run time: memory, threads and calls of compiled programs."""
