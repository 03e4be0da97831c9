"""Sequences to learn from: read as networks take them, cut, scaled and put into batches."""
