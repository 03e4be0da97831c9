"""The tools: the command, benchmarks, demonstrations, verification, pictures."""
