"""What nothing needs any more: which things those are, and how they go."""
