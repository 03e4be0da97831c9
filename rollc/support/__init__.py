"""Services that know nothing of graphs and kernels."""
