"""How a search engine is come by: an address, a JDK with Maven, Docker; and what is said where there is none of them."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from airflow_reindex_provider.testing import engine_nodes, engine_releases
from airflow_reindex_provider.testing.engine_releases import DISTRIBUTIONS, choose
from airflow_reindex_provider.testing.search_engine import SearchEngine

DOCKER = '''#!{python}
"""A stand-in for docker: `run` answers as an engine does, `kill` ends it. It notes what it was called with."""
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

home, arguments = {home!r}, sys.argv[1:]
with open(os.path.join(home, "calls"), "a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
if arguments[0] == "kill":
    os.kill(int(open(os.path.join(home, arguments[1])).read()), signal.SIGKILL)
    sys.exit()
given = dict(zip(arguments, arguments[1:]))
with open(os.path.join(home, given["--name"]), "w") as pid:
    pid.write(str(os.getpid()))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({{"nodes": {{"n": {{"version": arguments[-1].rpartition(":")[2]}}}}}}).encode())


HTTPServer(("127.0.0.1", int(given["--publish"].split(":")[1])), Handler).serve_forever()
'''


@pytest.fixture
def no_jdk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a JDK and without Docker; the path of its only folder of programs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("JAVA_HOME", "REINDEX_OLDER_ENGINES", *(about.url_variable for about in DISTRIBUTIONS.values())):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(engine_releases, "_java_version", lambda home: 0)
    return tmp_path


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_nothing_to_run_it_with(no_jdk: Path, name: str):
    """The error says what is missing, what brings it, and the variable that makes it needless."""
    with pytest.raises(RuntimeError, match="JDK of version 17") as caught, SearchEngine(name):
        pass
    for part in ("apt-get install", "Maven", "Docker", "JAVA_HOME", f"REINDEX_{name.upper()}_URL"):
        assert part in str(caught.value)


@pytest.mark.parametrize(("java", "version"), [({17}, "2.19.6"), ({17, 25}, "3.5.0"), ({21, 25}, "3.5.0")])
def test_the_newest_release_that_a_jdk_can_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, java: set[int], version: str
):
    """On the oldest JDK that is new enough for it."""
    monkeypatch.delenv("REINDEX_OLDER_ENGINES", raising=False)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "unused"))
    homes = {(tmp_path / str(number)): number for number in java}
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(homes))
    monkeypatch.setattr(engine_releases, "_java_version", lambda home: homes.get(home, 0))
    release, home = choose(DISTRIBUTIONS["opensearch"])
    assert release.version == version
    assert homes[home] == min(number for number in java if number >= release.least_java)


def test_docker_where_there_is_no_jdk(no_jdk: Path):
    """A container on loopback alone, whose data outlive a kill; it ends with the context. Docker itself is a stand-in."""
    docker = no_jdk / "docker"
    docker.write_text(DOCKER.format(python=sys.executable, home=str(no_jdk)))
    docker.chmod(docker.stat().st_mode | stat.S_IXUSR)

    with SearchEngine("elasticsearch") as engine:
        url = engine.url
        engine.kill()
        engine.restart()
        assert (engine.url, engine.version) == (url, "9.5.3")

    first, kill, second = map(json.loads, (no_jdk / "calls").read_text().splitlines())
    assert first == second
    assert kill == ["kill", first[first.index("--name") + 1]]
    assert first[first.index("--publish") + 1] == f"{url.removeprefix('http://')}:9200"
    assert "xpack.security.enabled=false" in first
    assert first[-1] == "elasticsearch:9.5.3"
    pid = int((no_jdk / kill[1]).read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_engine_that_runs_already_is_not_ours_to_kill(monkeypatch: pytest.MonkeyPatch):
    """The address is taken as it is, without a slash at its end."""
    monkeypatch.setenv("REINDEX_OPENSEARCH_URL", "http://search.example:9200/")
    monkeypatch.setattr(engine_nodes, "find_node", None)
    engine = SearchEngine("opensearch")
    assert engine.connection_uri() == "opensearch://search.example:9200"
    with pytest.raises(RuntimeError, match="not started here"):
        engine.kill()
