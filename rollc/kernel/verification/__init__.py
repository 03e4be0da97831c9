"""Whether a schedule is a schedule and a program a program."""
