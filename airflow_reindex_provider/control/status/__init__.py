"""Which streams there are and how they are, from Airflow's metadata database alone: for the page, the REST API and the command
line. Needs a process that may use that database, which a task is not."""
