"""Fitting the parameters of networks: data, optimisers, the loop, and what a run leaves behind."""
