"""How well a network does: what its loss compares, measured, beside baselines without a network."""
