"""The backend that compiles programs with Numba."""
