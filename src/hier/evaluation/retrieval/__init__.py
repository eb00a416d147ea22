"""Who finds whom: ranks, recall, MAP@R."""
