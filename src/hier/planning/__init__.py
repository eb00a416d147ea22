"""What a suite costs, before it runs."""
