"""Diagnostics: what is wrong with a text, where, why, and how to mend it."""
