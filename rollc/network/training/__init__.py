"""Training loops, optimisers, batches."""
