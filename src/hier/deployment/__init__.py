"""A trained model away from the pipeline."""
