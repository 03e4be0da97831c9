"""An interpreter of programs in NumPy: their reference semantics."""
