"""The main job end to end on one machine: `python -m airflow_reindex_provider.demo`."""
