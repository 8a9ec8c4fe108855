"""A real OpenSearch or Elasticsearch on loopback, without Docker and not as root: for tests and benchmarks.

The engines' own distributions come from Maven Central. They hold no security plugin (OpenSearch) or have it turned off
(Elasticsearch), so there are no credentials and no TLS here.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from airflow_reindex_provider.testing.processes import ProcessSet, marked, tail

_START_S = 120.0
_HEAP = "-Xms512m -Xmx512m"


@dataclass(frozen=True, slots=True)
class Distribution:
    """What there is to know of one engine. ``variables`` is the prefix of its environment variables."""

    name: str
    version: str
    group: str
    least_java: int
    variables: str
    settings: tuple[str, ...] = ()

    @property
    def artifact(self) -> str:
        return f"{self.group}:{self.name}:{self.version}:zip"

    @property
    def url_variable(self) -> str:
        """Where this is set, the engine at that address is used, and none is started."""
        return f"REINDEX_{self.name.upper()}_URL"


DISTRIBUTIONS = {
    "opensearch": Distribution(
        "opensearch", "3.4.0", "org.opensearch.distribution.integ-test-zip", least_java=21, variables="OPENSEARCH"
    ),
    "elasticsearch": Distribution(
        "elasticsearch",
        "9.1.4",
        "org.elasticsearch.distribution.integ-test-zip",
        least_java=21,
        variables="ES",
        settings=("xpack.security.enabled: false",),
    ),
}


class SearchEngine:
    """Context manager: one node of ``opensearch`` or ``elasticsearch``; its data are gone afterwards.

    Where ``REINDEX_OPENSEARCH_URL`` (``REINDEX_ELASTICSEARCH_URL``) is set it is the engine at that address, which is only
    looked at. The node ends with the context, and also when the owner is killed.

    :raises RuntimeError: on entering, when the engine cannot be had; says why, and what to install or set.
    """

    def __init__(self, name: str) -> None:
        self._about = DISTRIBUTIONS[name]
        self._home = Path()
        self._folder = Path()
        self._processes: ProcessSet | None = None
        self.name = name
        self.url = os.environ.get(self._about.url_variable, "").rstrip("/")
        self.version = ""

    def __enter__(self) -> Self:
        if self.url:
            self.version = self._wait()
            return self
        self._home = fetch(self.name)
        self._folder = Path(tempfile.mkdtemp(prefix=f"reindex-{self.name}-"))
        try:
            self.url = f"http://127.0.0.1:{_free_port()}"
            self._configure()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._folder != Path():
            self._end()
            shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """Kill the node with SIGKILL, as a crash does. Returns when it is dead; :meth:`restart` brings it back."""
        for process in list(marked(self._own().mark)):
            process.send_signal(signal.SIGKILL)
        self._end()

    def restart(self) -> None:
        """Start the killed node again, with its data, at the same address. Returns when it answers."""
        self._start()

    def connection_uri(self) -> str:
        """The URI of an Airflow connection to it, as ``AIRFLOW_CONN_<ID>`` takes it."""
        address = self.url.removeprefix("http://")
        return f"{self.name}://{address}" + ("/http" if self.name == "elasticsearch" else "")

    # -- pieces

    def _own(self) -> ProcessSet:
        if self._processes is None:
            raise RuntimeError(f"{self.name} at {self.url} was not started here.")
        return self._processes

    def _configure(self) -> None:
        shutil.copytree(self._home / "config", self._folder / "config")
        for name in ("data", "logs", "tmp"):
            (self._folder / name).mkdir()
        lines = (
            "network.host: 127.0.0.1",
            f"http.port: {self.url.rpartition(':')[2]}",
            "transport.port: 0",
            "discovery.type: single-node",
            f"path.data: {self._folder / 'data'}",
            f"path.logs: {self._folder / 'logs'}",
            # Tests run on disks that are nearly full, too.
            "cluster.routing.allocation.disk.threshold_enabled: false",
            *self._about.settings,
        )
        (self._folder / "config" / f"{self.name}.yml").write_text("\n".join(lines) + "\n")
        # The files that the JVM writes by default lie in the distribution, which is nobody's to write.
        options = self._folder / "config" / "jvm.options"
        options.write_text("".join(x for x in options.read_text().splitlines(True) if "logs/" not in x))
        if (user := _other_user()) is not None:
            for path in (self._folder, *self._folder.rglob("*")):
                os.chown(path, user, -1)

    def _start(self) -> None:
        self._processes = ProcessSet()
        self._processes.__enter__()
        prefix = self._about.variables
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            f"{prefix}_PATH_CONF": str(self._folder / "config"),
            f"{prefix}_JAVA_HOME": str(find_java(self._about)),
            f"{prefix}_JAVA_OPTS": _HEAP,
            f"{prefix}_TMPDIR": str(self._folder / "tmp"),
        }
        self._processes.start(
            self.name, [str(self._home / "bin" / self.name)], env=environment, log=self._log, user=_other_user()
        )
        self.version = self._wait()

    def _end(self) -> None:
        if self._processes is not None:
            self._processes.__exit__()
            self._processes = None

    @property
    def _log(self) -> Path:
        return self._folder / "output.log"

    def _wait(self) -> str:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                with urllib.request.urlopen(self.url, timeout=5) as answer:
                    return str(json.load(answer)["version"]["number"])
            except (OSError, ValueError, KeyError) as error:
                if self._processes is not None:
                    self._processes.check()
                if time.monotonic() > deadline:
                    shown = f"; the end of its log:\n{tail(self._log)}" if self._processes is not None else ""
                    raise RuntimeError(f"{self.name} at {self.url} does not answer: {error}{shown}") from error
            time.sleep(0.2)


def fetch(name: str) -> Path:
    """The folder of the unpacked distribution, fetched with Maven the first time.

    It is kept in ``$REINDEX_ENGINES_DIR``; default: ``airflow-reindex-provider`` in the user's cache folder.

    :raises RuntimeError: Maven is missing, or cannot fetch it."""
    about = DISTRIBUTIONS[name]
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airflow-reindex-provider"
    cache = Path(os.environ.get("REINDEX_ENGINES_DIR") or default)
    home = cache / f"{name}-{about.version}"
    if home.is_dir() and _reachable(home):
        return home
    if shutil.which("mvn") is None:
        raise RuntimeError(f"{name} is fetched with Maven: install maven, or set {about.url_variable}.")
    cache.mkdir(parents=True, exist_ok=True)
    if not _reachable(cache):
        # Root's home is closed to the user that the engine runs as.
        cache = Path(tempfile.gettempdir()) / "airflow-reindex-provider"
        cache.mkdir(exist_ok=True)
        home = cache / home.name
        if home.is_dir():
            return home
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={about.artifact}", f"-DoutputDirectory={folder}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Maven cannot fetch {about.artifact}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        with zipfile.ZipFile(Path(folder, f"{name}-{about.version}.zip")) as archive:
            archive.extractall(folder)
        unpacked = Path(folder, home.name)
        _open_to_all(unpacked)
        unpacked.rename(home)
    return home


def find_java(about: Distribution) -> Path:
    """The oldest JDK that is new enough, of JAVA_HOME, the PATH and /usr/lib/jvm.

    :raises RuntimeError: there is none."""
    places = [Path(home) for home in [os.environ.get("JAVA_HOME")] if home]
    if found := shutil.which("java"):
        places.append(Path(found).resolve().parent.parent)
    places += sorted(Path("/usr/lib/jvm").glob("*"))
    versions = {home.resolve(): version for home in places if (version := _java_version(home)) >= about.least_java}
    if not versions:
        raise RuntimeError(
            f"{about.name} {about.version} needs a JDK of version {about.least_java} or newer: install one, name it in"
            f" JAVA_HOME, or set {about.url_variable}."
        )
    return min(versions, key=lambda home: versions[home])


def _java_version(home: Path) -> int:
    try:
        found = re.search(r'^JAVA_VERSION="(\d+)', (home / "release").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) if found else 0


def _other_user() -> int | None:
    """Whom the engine runs as where we are root, which it refuses."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _reachable(folder: Path) -> bool:
    """Whether another user gets there."""
    if _other_user() is None:
        return True
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.resolve().parents))


def _open_to_all(folder: Path) -> None:
    for path in _all_of(folder):
        # A zip archive, as Python unpacks it, has lost who may do what.
        runs = path.is_dir() or path.parent.name == "bin" or path.name.startswith("controller")
        path.chmod(0o755 if runs else 0o644)


def _all_of(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.rglob("*")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
