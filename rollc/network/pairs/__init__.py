"""Networks with complex values: arrays of them for the user, pairs of reals below."""
