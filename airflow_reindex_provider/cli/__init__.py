"""``airflow reindex``: the command line's door to ``control``."""
