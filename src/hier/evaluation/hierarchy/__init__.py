"""Trees over embeddings, and how good they are."""
