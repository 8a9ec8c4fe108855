"""LanceDB, embedded, as a target: `target.py` is what a Dag file names, the others what a task opens."""

from airflow_reindex_provider.targets.lance.target import LanceTarget

__all__ = ["LanceTarget"]
