"""The run-time library: routines that generated source calls."""
