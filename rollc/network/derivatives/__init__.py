"""Derivatives as a user calls for them: of the loss or the outputs, backwards and forwards."""
