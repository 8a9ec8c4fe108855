"""Models that embed passages, one file each, named after its provider."""
