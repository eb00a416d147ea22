"""How trainings go, looked at while they do."""
