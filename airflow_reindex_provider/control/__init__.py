"""What is done to a stream outside of its runs."""
