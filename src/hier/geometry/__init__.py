"""The Poincaré ball: pure functions on tensors."""
