"""Weaviate as a target: `target.py` is what a Dag file names, the others what a task opens."""

from airflow_reindex_provider.targets.weaviate.target import WeaviateTarget

__all__ = ["WeaviateTarget"]
