"""Networks: a timm backbone and the head that maps its features to embeddings."""
