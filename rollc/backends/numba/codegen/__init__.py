"""Code generation: from a program to the source of a Python module for Numba."""
