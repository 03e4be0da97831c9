"""Predication: products that are computed only at the steps at which they are used."""
