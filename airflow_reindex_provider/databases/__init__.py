"""What the source, the target and the checkpoint store of one database share."""
