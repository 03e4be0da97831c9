"""Expansion: cells are inlined, files included, functions looked up."""
