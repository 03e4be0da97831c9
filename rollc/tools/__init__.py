"""The command, benchmarks, demonstrations, verification, pictures."""
