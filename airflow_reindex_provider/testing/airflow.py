"""A real Airflow in a folder, for tests and the demo: every component a process of its own, all gone afterwards.

api-server   scheduler + LocalExecutor   dag-processor   triggerer
     \\______________\\_________ metadata database ______/______/
                          (an EmbeddedPostgres)

With a broker it is CeleryExecutor, and each worker is a process of its own too.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import psycopg
import psycopg.errors

from airflow_reindex_provider.testing.airflow_programs import how_to_run
from airflow_reindex_provider.testing.airflow_settings import environment
from airflow_reindex_provider.testing.postgres import EmbeddedPostgres
from airflow_reindex_provider.testing.processes import ProcessSet, UntilLeft, free_port, tail
from airflow_reindex_provider.testing.rest import NoAnswerError, Rest, RestError

T = TypeVar("T")

_COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
_FINAL_STATES = ("success", "failed")
_POLL_S, _SLOWEST_POLL_S = 0.2, 1.0  # A look costs the api-server 0.03 s of CPU, and many wait at once.
_STATE_OF_RUN = "SELECT state FROM dag_run WHERE dag_id = %s AND run_id = %s"


class Airflow(UntilLeft):
    """Context manager: a running Airflow with a user `admin`, password `admin`, on loopback ports that were free.

    Its settings come from here alone: `AIRFLOW*` variables of the calling environment are left out. It schedules and
    beats faster than a deployment would, and shows no example Dags. A Dag file is parsed once; new Dags are paused. When
    the owner is killed, a watchdog ends every process that Airflow has started, running tasks included.

    :param home: AIRFLOW_HOME, made if missing; the components log into `logs/<component>.log` there.
    :param dag_folders: the Dag bundles: name and folder of each.
    :param postgres: a running server; the metadata database `airflow` is made in it if missing.
    :param env: what tasks and components see besides, such as `AIRFLOW_CONN_SHOP_DB`; may override settings.
    :param port: of the UI and the API. Default: a free one.
    :param broker_url: of a Redis. With it tasks run on CeleryExecutor. Default: on LocalExecutor.
    :param workers: how many Celery workers; the components `worker-1`, `worker-2` ...
    :raises RuntimeError: on entering, when a component ends or is not healthy in time; shows the end of its log.
    """

    user = "admin"
    password = "admin"

    def __init__(
        self,
        home: Path | str,
        *,
        dag_folders: Mapping[str, Path | str],
        postgres: EmbeddedPostgres,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        broker_url: str | None = None,
        workers: int = 2,
        start_timeout_s: float = 400,
    ) -> None:
        self.home = Path(home).expanduser().resolve()
        self.url = f"http://127.0.0.1:{port or free_port()}"
        self._dag_folders = {name: Path(folder).resolve() for name, folder in dag_folders.items()}
        self._postgres = postgres
        self._extra_env = dict(env or {})
        self._broker_url = broker_url
        self._workers = tuple(f"worker-{number + 1}" for number in range(workers if broker_url else 0))
        self._start_timeout_s = start_timeout_s
        self._env: dict[str, str] = {}
        self._processes = ProcessSet()
        self.rest: Rest

    def _begin(self, stack: contextlib.ExitStack) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        self._env = environment(
            home=self.home,
            url=self.url,
            dag_folders=self._dag_folders,
            postgres=self._postgres,
            users=f"{self.user}:admin",
            broker_url=self._broker_url,
            more=self._extra_env,
        )
        passwords = self.home / "passwords.json"
        passwords.write_text(json.dumps({self.user: self.password}))
        with contextlib.suppress(psycopg.errors.DuplicateDatabase):
            self._postgres.create_database("airflow")
        stack.enter_context(self._processes)
        self.cli("db", "migrate", timeout_s=self._start_timeout_s)
        for component in (*_COMPONENTS, *self._workers):
            self._start(component)
        self.rest = self._wait(self._healthy, timeout_s=self._start_timeout_s, what=lambda: "a healthy Airflow")
        stack.callback(self.rest.close)
        # What tasks speak to is built at its first call, and for these seconds the api-server answers nobody else.
        httpx.get(f"{self.url}/execution/health", timeout=self._start_timeout_s).raise_for_status()

    @property
    def logs(self) -> Path:
        """The folder of the components' logs (`scheduler.log` ...) and of the tasks' logs."""
        return self.home / "logs"

    @property
    def mark(self) -> str:
        """What `processes.marked` finds the processes of this Airflow by."""
        return self._processes.mark

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to be part of this Airflow, and to be ended with it."""
        return self._processes.environment(self._env)

    def component_of(self, pid: int) -> str:
        """Which component has started a process, such as a task's `pid`: `scheduler`, `worker-1` ...

        :raises KeyError: none of this Airflow.
        """
        return self._processes.starter(pid)

    def kill(self, component: str) -> None:
        """SIGKILL to a component and all that it has started, running tasks included: as if its machine were lost."""
        self._processes.kill(component)

    def restart(self, component: str) -> None:
        """Start a killed component again. Returns when Airflow is healthy."""
        self._start(component)
        self._wait(self._healthy, timeout_s=self._start_timeout_s, what=lambda: "a healthy Airflow").close()

    def cli(self, *arguments: str, timeout_s: float = 400) -> str:
        """Run `airflow ...` and return what it printed. Costs seconds: Airflow is imported anew.

        :raises RuntimeError: when it fails or takes longer; shows the end of its output.
        """
        command = f"airflow {' '.join(arguments)}"
        try:
            result = subprocess.run(
                [sys.executable, "-m", "airflow", *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"`{command}` took longer than {timeout_s:.0f} s") from error
        if result.returncode != 0:
            raise RuntimeError(f"`{command}` failed:\n{(result.stdout + result.stderr)[-4000:]}")
        return result.stdout

    def wait_for_dag(self, dag_id: str, *, timeout_s: float = 60) -> dict[str, Any]:
        """The Dag as the API shows it, once it has been parsed.

        :raises RuntimeError: when it does not come; shows the import errors.
        """

        def look() -> dict[str, Any] | None:
            dag: dict[str, Any] | None = self.rest.find(f"/dags/{quote(dag_id)}")
            return dag

        def missing() -> str:
            errors = self.rest.get("/importErrors")["import_errors"]
            shown = "\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors)
            return f"Dag {dag_id}; import errors: {shown or 'none'}"

        return self._wait(look, timeout_s=timeout_s, what=missing)

    def pause(self, dag_id: str, paused: bool = True) -> None:
        """Pause a Dag, or unpause it: then its scheduled and its triggered runs start."""
        self.rest.patch(f"/dags/{dag_id}", {"is_paused": paused})

    def trigger(
        self,
        dag_id: str,
        *,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
        unpause: bool = True,
    ) -> str:
        """Wait for the Dag, start a run of it and return the run's id."""
        dag = self.wait_for_dag(dag_id)
        if unpause and dag["is_paused"]:
            self.pause(dag_id, False)
        body = {"logical_date": logical_date and logical_date.isoformat(), "conf": dict(conf or {})}
        return str(self.rest.post(f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout_s: float = 120,
        expect: str | None = "success",
        on_poll: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """The run as the API shows it, once it has ended. Until then it is the metadata database that is asked.

        :param expect: the state it must have ended in (`success`, `failed`); None takes either.
        :param on_poll: called with `dag_id`, `dag_run_id` and `state` each time it is looked at, the last time included.
        :raises RuntimeError: when it does not end in time or not as expected; shows the logs of the failed tasks.
        :raises RestError: there is no such run.
        """

        def look(metadata: psycopg.Connection[Any]) -> dict[str, Any] | None:
            row = metadata.execute(_STATE_OF_RUN, [dag_id, run_id]).fetchone()
            state = row[0] if row else None
            if row and on_poll is not None:
                on_poll({"dag_id": dag_id, "dag_run_id": run_id, "state": state})
            if row and state not in _FINAL_STATES:
                return None
            run: dict[str, Any] = self.rest.get(_run_path(dag_id, run_id))
            return run

        def states() -> str:
            tasks = {_label(task): task["state"] for task in self.task_instances(dag_id, run_id)}
            return f"the end of run {run_id} of {dag_id}; its tasks: {tasks}"

        with self._postgres.database("airflow").connect() as metadata:
            run = self._wait(lambda: look(metadata), timeout_s=timeout_s, what=states, slowest_poll_s=_POLL_S)
        if expect is not None and run["state"] != expect:
            raise RuntimeError(f"run {run_id} of {dag_id} ended in {run['state']}, not {expect}\n{self.failures(run)}")
        return run

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The run's task instances as the API shows them, mapped ones each on its own."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.rest.get(f"{_run_path(dag_id, run_id)}/taskInstances", limit=100, offset=len(found))
            found += answer["task_instances"]
            if not answer["task_instances"] or len(found) >= answer["total_entries"]:
                return found

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1
    ) -> Any | None:
        """The value of an XCom; None if there is none yet."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key)}"
        entry = self.rest.find(path, map_index=map_index, deserialize=True)
        return None if entry is None else entry["value"]

    def variable(self, key: str) -> str | None:
        """The value of an Airflow Variable; None if there is none."""
        entry = self.rest.find(f"/variables/{quote(key, safe='')}")
        return None if entry is None else str(entry["value"])

    def log_of(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> str:
        """What a task instance has logged in all its tries, one line an event; empty if it has not logged yet."""
        folder = self.logs / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        if map_index >= 0:
            folder /= f"map_index={map_index}"
        files = sorted(folder.glob("attempt=*.log"), key=lambda path: (len(path.name), path.name))
        return "\n".join(_readable(line) for file in files for line in file.read_text(errors="replace").splitlines())

    def failures(self, run: Mapping[str, Any]) -> str:
        """The logs of the failed task instances of a run that `wait_for_run` has returned, the last lines of each."""
        dag_id, run_id = run["dag_id"], run["dag_run_id"]
        parts = []
        for task in self.task_instances(dag_id, run_id):
            if task["state"] in ("failed", "up_for_retry"):
                log = self.log_of(dag_id, run_id, task["task_id"], map_index=task["map_index"])
                parts.append(f"--- {_label(task)}\n" + "\n".join(log.splitlines()[-40:]))
        return "\n".join(parts)

    def _wait(
        self,
        look: Callable[[], T | None],
        *,
        timeout_s: float,
        what: Callable[[], str],
        slowest_poll_s: float = _SLOWEST_POLL_S,
    ) -> T:
        deadline = time.monotonic() + timeout_s
        pause_s = _POLL_S
        while True:
            self._processes.check()
            if (found := look()) is not None:
                return found
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {timeout_s:.0f} s for {what()}; the logs are in {self.logs}")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.3, slowest_poll_s)

    def _start(self, component: str) -> None:
        options = {
            "api-server": ["api-server", "--host", "127.0.0.1", "--port", self.url.rpartition(":")[2]],
            # Logs are read from the folder that all share.
            **{
                name: ["celery", "worker", "--celery-hostname", f"{name}@%h", "--skip-serve-logs"]
                for name in self._workers
            },
        }
        command = [sys.executable, *how_to_run(component), *options.get(component, [component])]
        self._processes.start(component, command, env=self._env, log=self.logs / f"{component}.log")

    def _healthy(self) -> Rest | None:
        try:
            rest = Rest(self.url, self.user, self.password, on_silence=self._silent_api_server)
            try:
                health = rest.get("/monitor/health")
            except BaseException:
                rest.close()
                raise
        except (httpx.TransportError, RestError, NoAnswerError):
            return None
        if all(part["status"] == "healthy" for part in health.values()) and self._workers_answer():
            return rest
        rest.close()
        return None

    def _silent_api_server(self) -> str:
        log = self.logs / "api-server.log"
        end = tail(log)
        self._processes.send("api-server", signal.SIGUSR1)
        return f"What its threads are doing is in {log}, whose end was:\n{end}"

    def _workers_answer(self) -> bool:
        if not self._workers:
            return True
        from celery import Celery

        with Celery(broker=self._broker_url) as app:
            answers = app.control.ping(timeout=1)
        return {name.partition("@")[0] for answer in answers for name in answer} == set(self._workers)


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _label(task: Mapping[str, Any]) -> str:
    return task["task_id"] if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]"


def _readable(line: str) -> str:
    """One JSON log line as text; the exception, where there is one, in a line below."""
    try:
        entry = json.loads(line)
        why = f" {entry['reason']}" if "reason" in entry else ""
        text = f"{entry.get('timestamp', '')} {entry.get('level', '')} {entry['event']}{why}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return line
    for error in entry.get("error_detail") or []:
        text += f"\n{error.get('exc_type')}: {error.get('exc_value')}"
        for frame in (error.get("frames") or [])[-6:]:
            text += f"\n    {frame.get('filename')}:{frame.get('lineno')} in {frame.get('name')}"
    return text
