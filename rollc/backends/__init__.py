"""Backends: the protocol, and two ways to run a program, compiled or interpreted."""
