"""The formats of pictures, and their colours."""
