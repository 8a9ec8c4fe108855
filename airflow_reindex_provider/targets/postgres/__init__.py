"""Postgres as a target: `target.py` is what a Dag file names, the others what a task opens."""

from airflow_reindex_provider.targets.postgres.definition import FullText
from airflow_reindex_provider.targets.postgres.target import PostgresTarget

__all__ = ["FullText", "PostgresTarget"]
