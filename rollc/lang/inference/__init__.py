"""The shapes, kinds and axes of nodes, and what is wrong with them."""
