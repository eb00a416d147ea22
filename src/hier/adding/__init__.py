"""One's own photos as a dataset: what `hier dataset add` finds in them, chooses and writes."""
