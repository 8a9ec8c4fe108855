"""A running Airflow task that makes calls for a test: its own process, its own metadata database, Airflow's own API."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from airflow_reindex_provider.core.model import Checkpoint
from airflow_reindex_provider.core.protocols import CheckpointStore

ASSET = "reindex_test_products"

_DAG = f"""
import airflow_task
from airflow.sdk import DAG, Asset, task

with DAG("serve_calls", schedule=None) as dag:

    @task(inlets=[Asset({ASSET!r})])
    def serve():
        airflow_task.serve()

    serve()

if __name__ == "__main__":
    dag.test()
"""


class AirflowTask:
    """Context manager. ``run`` makes a call inside the task and gives back its result or raises its error.

    :param metadata: an SQLite file with Airflow's tables, which is copied."""

    def __init__(self, home: Path, metadata: Path) -> None:
        self._home = home
        self._metadata = metadata

    def __enter__(self) -> Self:
        dags = self._home / "dags"
        dags.mkdir(parents=True)
        shutil.copyfile(self._metadata, self._home / "airflow.db")
        file = dags / "serve_calls.py"
        file.write_text(_DAG)
        self._log = self._home / "task.log"
        ours, theirs = Pipe()
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")} | {
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(file), str(theirs.fileno())],
                env=self.env,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
            )
        theirs.close()
        self._calls = ours
        return self

    def __exit__(self, *exc: object) -> None:
        self._calls.close()
        # Airflow takes ten seconds for an orderly end that no test looks at.
        self._process.kill()
        self._process.wait()

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            self._calls.send((function, args, kwargs))
            result, error = self._calls.recv()
        except (EOFError, OSError):
            raise RuntimeError(f"the task has ended:\n{self._log.read_text()[-5000:]}") from None
        if error is not None:
            raise error
        return result


@dataclass(frozen=True)
class InTask:
    """A store whose every call is made inside the running task."""

    store: CheckpointStore
    task: AirflowTask

    def load(self, stream: str, generation: str) -> Checkpoint:
        return self.task.run(self.store.load, stream, generation)

    def save(self, checkpoint: Checkpoint) -> Checkpoint:
        return self.task.run(self.store.save, checkpoint)

    def reset(self, stream: str, generation: str) -> None:
        self.task.run(self.store.reset, stream, generation)

    def where(self, stream: str, generation: str) -> str:
        return self.store.where(stream, generation)


def serve() -> None:
    """The task's side: make the calls that come in until the test closes its end."""
    with Connection(int(sys.argv[1])) as calls:
        while True:
            try:
                function, args, kwargs = calls.recv()
                answer = (function(*args, **kwargs), None)
            except EOFError:
                return
            except Exception as error:  # whatever it is, it is the test's to judge
                answer = (None, error)
            calls.send(answer)


# What tests ask the task to do beside the calls of the store: by Airflow's own API, as an author or a person would.


def get_variable(key: str) -> str:
    from airflow.sdk import Variable

    return Variable.get(key)


def set_variable(key: str, value: str) -> None:
    from airflow.sdk import Variable

    Variable.set(key, value)


def delete_variables() -> None:
    from airflow.sdk import Variable

    for key in list(Variable.keys()):
        Variable.delete(key)


def set_state(key: str, value: Any) -> None:
    from airflow.sdk import Asset, get_current_context

    get_current_context()["asset_state_store"][Asset(ASSET)].set(key, value)


def clear_state() -> None:
    from airflow.sdk import Asset, get_current_context

    get_current_context()["asset_state_store"][Asset(ASSET)].clear()


def without_answers(messages: str, function: Callable[..., Any], *args: Any) -> Any:
    """Make the call while Airflow fails to answer these messages, as it does when the API server is restarted."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse

    working = task_runner.SUPERVISOR_COMMS

    class Broken:
        def send(self, message: Any) -> Any:
            if type(message).__name__ in messages.split(", "):
                raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))
            return working.send(message)

    task_runner.SUPERVISOR_COMMS = Broken()
    try:
        return function(*args)
    finally:
        task_runner.SUPERVISOR_COMMS = working
