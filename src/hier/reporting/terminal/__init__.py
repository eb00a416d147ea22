"""What pages show, in a terminal."""
