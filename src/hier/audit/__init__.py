"""Check and tell: verification, lineage, reruns, differences, crates."""
