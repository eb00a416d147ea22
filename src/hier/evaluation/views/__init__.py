"""What pictures need; no number depends on it."""
