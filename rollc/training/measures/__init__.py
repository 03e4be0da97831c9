"""What predictions are measured by, as the loss compares them."""
