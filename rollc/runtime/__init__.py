"""Compiled programs, called on arrays."""
