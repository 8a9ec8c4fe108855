"""Streams said in a YAML file: read with the place of every value, checked by models of the public classes, made into Dags."""
