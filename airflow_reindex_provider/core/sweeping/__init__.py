"""A sweep: what differs between source and index, and its repair."""
