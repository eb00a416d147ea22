"""Retrieval measures and diagnostics of embeddings."""
