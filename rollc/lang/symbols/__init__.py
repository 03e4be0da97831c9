"""Symbols: names, sizes, constants and functions that a spec can refer to."""
