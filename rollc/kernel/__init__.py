"""From a graph to a program of loops over buffers."""
