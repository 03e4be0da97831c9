"""Automatic differentiation of graphs: adjoints, tangents, truncation, windows and segments."""
