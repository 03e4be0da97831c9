"""Optimization remarks: how each node of a kernel is computed and stored, and why."""
