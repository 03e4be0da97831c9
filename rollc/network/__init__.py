"""What a user calls: a network, its arrays, its ways to run."""
