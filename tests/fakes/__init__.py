"""Stand-ins for what tests cannot reach: the paper's archives, and the servers that have them."""
