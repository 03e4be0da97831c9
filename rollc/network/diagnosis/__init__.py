"""What a call of a network computed on the way: where it fails, and how large it grows."""
