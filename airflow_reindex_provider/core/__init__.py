"""The rules of reindexing. Standard library only: no Airflow, no database or engine client."""
