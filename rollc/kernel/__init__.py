"""From a graph to a kernel: schedule, plan, emit, and the routines that kernels call."""
