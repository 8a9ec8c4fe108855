"""The page in Airflow's UI and the REST API: doors to ``control``, served by Airflow's api-server."""
