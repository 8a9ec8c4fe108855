"""Whole Dags from a stream: what most authors need."""

from airflow_reindex_provider.dags.forms import WINDOW_PARAMS

__all__ = ["WINDOW_PARAMS"]
