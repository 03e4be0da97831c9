"""Products that are computed at the steps alone at which they are read."""
