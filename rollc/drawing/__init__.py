"""Pictures of graphs: what a box stands for, where it is, and the formats of files."""
