"""Optimizing passes from program to program."""
