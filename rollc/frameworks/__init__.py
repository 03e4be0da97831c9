"""What rollc has in common inside of PyTorch and JAX: networks, and what a call of one computes."""
