"""HIER as a ledger of results: a matrix of runs, a pipeline that fills it, a verifier that grades it."""

__version__ = "0.1.0"
