"""Reassociation of sums and products: a shorter recurrence from step to step."""
