"""The routines that generated source calls."""
