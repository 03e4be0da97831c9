"""The graph: types, operations, text, verifier, interpreter."""
