"""Equations to nodes whose types are not known yet."""
