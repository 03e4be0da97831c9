"""Services that do not depend on graphs or kernels."""
