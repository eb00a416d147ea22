"""The configuration of a suite: its shape (pydantic) and its composition (Hydra)."""
