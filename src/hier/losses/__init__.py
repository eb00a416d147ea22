"""The losses: the hierarchical regulariser, Hyp's pairwise cross-entropy, metric losses."""
