"""Where vectors are kept beside all indexes, one file each, named after its system."""
