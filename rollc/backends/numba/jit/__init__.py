"""From source to machine code, kept and linked."""
