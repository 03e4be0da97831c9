"""Compilation of source to object code, its cache, and its linking."""
