"""The parts of a writer of programs, by what they write."""
