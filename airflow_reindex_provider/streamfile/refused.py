"""How a stream of which a file says something wrong is seen in Airflow: as an import error of its own.

Airflow keeps one import error for each place, and takes the Dags of a place that has one for gone. So what is wrong with one
stream must not be an error of the Dag file: the others' Dags would go with it. This Dag stands for the stream; as Airflow
serialises it, it says that it lies somewhere else, and what is wrong.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG

from airflow_reindex_provider.streamfile.problems import Problem


class RefusedStreamDag(DAG):
    """Not a Dag that runs: Airflow shows an import error in its place.

    :param name: what the file calls it.
    :ivar shown_at: under which name. :ivar says: what is wrong, one problem a line."""

    def __init__(self, *, dag_id: str, name: str, problems: tuple[Problem, ...], **kwargs: Any) -> None:
        place, stream = problems[0].place, problems[0].stream
        self.shown_at = f"{place.file} ({name if stream is None else f'stream {stream}'})"
        self.says = "\n".join(map(str, problems))
        super().__init__(dag_id=dag_id, schedule=None, **kwargs)

    def get_serialized_fields(self) -> Any:  # type: ignore[override]  # asked of the Dag, whose class has one for all
        """The first thing that Airflow asks as it serialises a Dag."""
        from airflow.exceptions import SerializationError

        self.relative_fileloc = self.shown_at
        raise SerializationError(self.says)
