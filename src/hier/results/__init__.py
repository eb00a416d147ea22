"""Numbers: measures, grades, tables."""
