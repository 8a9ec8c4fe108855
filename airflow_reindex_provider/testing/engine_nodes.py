"""Two ways to run one node of a search engine: the distribution from Maven Central, or its Docker image."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path
from typing import Protocol

from airflow_reindex_provider.testing.engine_releases import Distribution, choose, engine_user, fetch
from airflow_reindex_provider.testing.processes import ProcessSet, marked

_HEAP = "-Xms512m -Xmx512m"
# Half the work of a start, and a third less of the first minutes; what runs for long is slower.
_SHORT_LIVED = f"{_HEAP} -XX:TieredStopAtLevel=1 -XX:-UseG1GC -XX:+UseSerialGC"


class Node(Protocol):
    """How a node is started. Its data lie in ``data``, which a restart finds again."""

    @property
    def user(self) -> int | None:
        """Whom root starts the command as."""

    def prepare(self, folder: Path, data: Path, port: int) -> None:
        """Before the first start."""

    def command(self) -> list[str]: ...

    def environment(self) -> dict[str, str]: ...

    def kill(self, processes: ProcessSet) -> None:
        """SIGKILL to the engine itself."""


def find_node(about: Distribution, *, short_lived: bool = False) -> Node:
    """:raises RuntimeError: neither way is open; says what would open one."""
    options = _SHORT_LIVED if short_lived else _HEAP
    try:
        return Jvm(about, options)
    except RuntimeError as error:
        if shutil.which("docker"):
            return Container(about, options)
        raise RuntimeError(
            f"{error} Install a JDK and Maven (on Debian: apt-get install default-jre-headless maven) or Docker, name a JDK in"
            f" JAVA_HOME, or set {about.url_variable} to an engine that runs."
        ) from error


class Jvm:
    """The distribution on a JDK of this machine."""

    def __init__(self, about: Distribution, options: str) -> None:
        self._about = about
        self._options = options
        release, self._java = choose(about)
        self._home = fetch(about, release)
        self._folder = Path()
        self.user = engine_user()

    def prepare(self, folder: Path, data: Path, port: int) -> None:
        self._folder = folder
        shutil.copytree(self._home / "config", folder / "config")
        for name in ("logs", "tmp"):
            (folder / name).mkdir()
        lines = (
            "network.host: 127.0.0.1",
            f"http.port: {port}",
            "transport.port: 0",
            "discovery.type: single-node",
            f"path.data: {data}",
            f"path.logs: {folder / 'logs'}",
            # Tests run on disks that are nearly full, too.
            "cluster.routing.allocation.disk.threshold_enabled: false",
            *self._about.settings,
        )
        (folder / "config" / f"{self._about.name}.yml").write_text("\n".join(lines) + "\n")
        # The files that the JVM writes by default lie in the distribution, which is nobody's to write.
        options = folder / "config" / "jvm.options"
        options.write_text("".join(x for x in options.read_text().splitlines(True) if "logs/" not in x))
        if self.user is not None:
            for path in (data, folder, *folder.rglob("*")):
                os.chown(path, self.user, -1)

    def command(self) -> list[str]:
        return [str(self._home / "bin" / self._about.name)]

    def environment(self) -> dict[str, str]:
        prefix = self._about.variables
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            f"{prefix}_PATH_CONF": str(self._folder / "config"),
            f"{prefix}_JAVA_HOME": str(self._java),
            f"{prefix}_JAVA_OPTS": self._options,
            f"{prefix}_TMPDIR": str(self._folder / "tmp"),
        }

    def kill(self, processes: ProcessSet) -> None:
        for process in list(marked(processes.mark)):
            process.send_signal(signal.SIGKILL)


class Container:
    """The Docker image, in the foreground: the container ends with the command, and its data lie outside."""

    user = None

    def __init__(self, about: Distribution, options: str) -> None:
        self._about = about
        self._options = options
        self._name = f"reindex-{about.name}-{uuid.uuid4().hex[:8]}"
        self._data = Path()
        self._port = 0

    def prepare(self, folder: Path, data: Path, port: int) -> None:
        self._data, self._port = data, port
        # The image has a user of its own.
        data.chmod(0o777)

    def command(self) -> list[str]:
        about = self._about
        settings = {
            "discovery.type": "single-node",
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            f"{about.variables}_JAVA_OPTS": self._options,
            "DISABLE_SECURITY_PLUGIN": "true",
            "DISABLE_INSTALL_DEMO_CONFIG": "true",
            **dict(line.split(": ") for line in about.settings),
        }
        return [
            *("docker", "run", "--rm", "--name", self._name),
            *("--publish", f"127.0.0.1:{self._port}:9200"),
            *("--volume", f"{self._data}:/usr/share/{about.name}/data"),
            *(part for name, value in settings.items() for part in ("--env", f"{name}={value}")),
            f"{about.image}:{about.wanted()[0].version}",
        ]

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def kill(self, processes: ProcessSet) -> None:
        subprocess.run(["docker", "kill", self._name], check=True, stdout=subprocess.DEVNULL)
