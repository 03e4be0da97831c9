"""The source of a program: a Python module for Numba."""
