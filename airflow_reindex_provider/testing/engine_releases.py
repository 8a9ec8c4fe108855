"""Which OpenSearch and Elasticsearch the tests run, and where they come from: Maven Central holds both without Docker.

These distributions hold no security plugin (OpenSearch) or have it turned off (Elasticsearch), so there are no credentials and
no TLS in what runs from here.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_reindex_provider.testing.folders import one_at_a_time


@dataclass(frozen=True, slots=True)
class Release:
    """:ivar plugins: Maven's coordinates of plugins that it gets, beside those that the distribution has."""

    version: str
    least_java: int
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Distribution:
    """What there is to know of one engine.

    :ivar releases: those that tests run on, the newest first. :ivar variables: what its environment variables begin with.
    :ivar settings: lines of its configuration. :ivar image: the name of its Docker image.
    """

    name: str
    releases: tuple[Release, ...]
    variables: str
    image: str
    settings: tuple[str, ...] = ()

    @property
    def url_variable(self) -> str:
        """Where this is set, the engine at that address is used, and none is started."""
        return f"REINDEX_{self.name.upper()}_URL"

    def artifact(self, release: Release) -> str:
        return f"org.{self.name}.distribution.integ-test-zip:{self.name}:{release.version}:zip"

    def wanted(self) -> tuple[Release, ...]:
        """The releases that will do, in order of preference; with ``REINDEX_OLDER_ENGINES=1`` the oldest alone."""
        return self.releases[-1:] if os.environ.get("REINDEX_OLDER_ENGINES") == "1" else self.releases


DISTRIBUTIONS = {
    "opensearch": Distribution(
        "opensearch",
        (
            # The newest for which Maven Central has the k-NN plugin; it comes without the native libraries of faiss.
            Release("3.5.0", least_java=21, plugins=("org.opensearch.plugin:opensearch-knn:3.5.0.0:zip",)),
            Release("2.19.6", least_java=17),
        ),
        variables="OPENSEARCH",
        image="opensearchproject/opensearch",
    ),
    "elasticsearch": Distribution(
        "elasticsearch",
        (Release("9.5.3", least_java=21), Release("8.19.21", least_java=17)),
        variables="ES",
        image="elasticsearch",
        settings=("xpack.security.enabled: false",),
    ),
}


def choose(about: Distribution) -> tuple[Release, Path]:
    """The newest release that a JDK at hand can run, and that JDK: the oldest one that is new enough.

    They are looked for in JAVA_HOME, on the PATH and in /usr/lib/jvm.

    :raises RuntimeError: there is none."""
    places = [Path(home) for home in [os.environ.get("JAVA_HOME")] if home]
    if found := shutil.which("java"):
        places.append(Path(found).resolve().parent.parent)
    places += sorted(Path("/usr/lib/jvm").glob("*"))
    versions = {home.resolve(): version for home in places if (version := _java_version(home))}
    for release in about.wanted():
        if able := {home: version for home, version in versions.items() if version >= release.least_java}:
            return release, min(able, key=lambda home: able[home])
    least = about.wanted()[-1]
    raise RuntimeError(f"{about.name} {least.version} needs a JDK of version {least.least_java} or newer.")


def fetch(about: Distribution, release: Release) -> Path:
    """The folder of the unpacked distribution, fetched with Maven the first time.

    It is kept in ``$REINDEX_ENGINES_DIR``; default: ``airflow-reindex-provider`` in the user's cache folder.

    :raises RuntimeError: Maven is missing, or cannot fetch it."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airflow-reindex-provider"
    cache = Path(os.environ.get("REINDEX_ENGINES_DIR") or default)
    home = cache / f"{about.name}-{release.version}"
    if home.is_dir() and _reachable(home):
        return home
    if shutil.which("mvn") is None:
        raise RuntimeError(f"{about.name} {release.version} is fetched with Maven, which is not there.")
    cache.mkdir(parents=True, exist_ok=True)
    if not _reachable(cache):
        # Root's home is closed to the user that the engine runs as.
        cache = Path(tempfile.gettempdir()) / "airflow-reindex-provider"
        cache.mkdir(exist_ok=True)
        home = cache / home.name
    with one_at_a_time(cache):
        if not home.is_dir():
            _make(home, about, release)
    return home


def _make(home: Path, about: Distribution, release: Release) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        distribution = _copy(about.artifact(release), folder)
        with zipfile.ZipFile(distribution) as archive:
            archive.extractall(folder)
        unpacked = Path(folder, home.name)
        for artifact in release.plugins:
            _install(_copy(artifact, folder), unpacked / "plugins")
        _open_to_all(unpacked)
        unpacked.rename(home)


def _copy(artifact: str, folder: str) -> Path:
    """The file of Maven's that has these coordinates, in the folder."""
    command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Maven cannot fetch {artifact}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    _, name, version, _ = artifact.split(":")
    return Path(folder, f"{name}-{version}.zip")


def _install(plugin: Path, folder: Path) -> None:
    """As the engine's own command does it, but for asking whether the plugin may have its privileges."""
    with zipfile.ZipFile(plugin) as archive:
        about = archive.read("plugin-descriptor.properties").decode()
        name = next(line.partition("=")[2] for line in about.splitlines() if line.startswith("name="))
        archive.extractall(folder / name.strip())


def engine_user() -> int | None:
    """Whom the engine runs as where we are root, which it refuses."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _java_version(home: Path) -> int:
    try:
        found = re.search(r'^JAVA_VERSION="(\d+)', (home / "release").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) if found else 0


def _reachable(folder: Path) -> bool:
    """Whether another user gets there."""
    if engine_user() is None:
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
