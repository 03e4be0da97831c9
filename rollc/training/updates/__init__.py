"""How parameters move: optimisers, their rates, and L-BFGS."""
