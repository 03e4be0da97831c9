"""What makes machine code of programs."""
