"""One run: the chunk loop, reading ahead of it, and closing the run."""
