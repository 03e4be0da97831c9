"""The functions of numbers, on whole vectors."""
