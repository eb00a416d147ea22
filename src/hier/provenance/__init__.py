"""What went in, what came out: hashes, records, grades."""
