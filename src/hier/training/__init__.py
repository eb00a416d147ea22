"""Training: one readable loop, its parameter groups, schedules, checkpoints and generators."""
