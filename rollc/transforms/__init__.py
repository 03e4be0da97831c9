"""Passes from graph to graph that keep its values, or extend them."""
