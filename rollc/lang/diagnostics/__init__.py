"""What is wrong with a text, where and why."""
