"""Files written whole, their hashes, and locks on them."""
