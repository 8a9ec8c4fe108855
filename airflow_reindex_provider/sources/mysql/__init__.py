"""MySQL and MariaDB."""

from airflow_reindex_provider.sources.mysql.source import MySqlSource

__all__ = ["MySqlSource"]
