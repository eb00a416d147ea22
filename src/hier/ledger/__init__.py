"""Run a job: its record, its key, its lock, the cache of outputs and dvc.lock."""
