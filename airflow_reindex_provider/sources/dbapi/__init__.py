"""Any database that Airflow has a DbApiHook for."""

from airflow_reindex_provider.sources.dbapi.source import SqlSource

__all__ = ["SqlSource"]
