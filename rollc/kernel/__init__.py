"""Scheduling and bufferization: from a graph to a program of loops over buffers."""
