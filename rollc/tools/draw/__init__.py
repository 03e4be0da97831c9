"""Pictures of graphs, by Graphviz."""
