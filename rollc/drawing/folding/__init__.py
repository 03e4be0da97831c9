"""What the boxes of a picture stand for: values, cells, initial values, and equations."""
