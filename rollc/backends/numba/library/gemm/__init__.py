"""Matrix products, in blocks that fit the caches."""
