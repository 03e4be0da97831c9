"""Cells, functions and files that are used, in the place of their uses."""
