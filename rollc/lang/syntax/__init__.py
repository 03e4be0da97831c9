"""Lexing, parsing, the syntax tree, and its formatter."""
