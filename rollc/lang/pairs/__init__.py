"""Complex values as pairs of reals: which values are complex, and what their parts are."""
