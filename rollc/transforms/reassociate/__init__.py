"""Sums and products in the order that takes least from step to step."""
