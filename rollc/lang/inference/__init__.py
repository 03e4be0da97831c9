"""Type inference: shapes, kinds and time axes of nodes, and the diagnostics of types."""
