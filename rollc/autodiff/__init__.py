"""Graphs of derivatives: adjoints, tangents, and what they are cut into."""
