"""Postgres as a source: `source.py` is what a Dag file names, the others what a task opens."""

from airflow_reindex_provider.sources.postgres.source import PostgresSource

__all__ = ["PostgresSource"]
