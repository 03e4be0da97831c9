"""Elaboration: statements and expressions to untyped nodes."""
