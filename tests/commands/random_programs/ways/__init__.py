"""The ways in which a program is computed, and held to what it means."""
