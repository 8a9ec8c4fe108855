"""The plugin as Airflow loads it: in every task process, and in the api-server with the page's files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rest_client import API, Server

from airflow_reindex_provider.plugin import entry, static
from airflow_reindex_provider.plugin.entry import ReindexPlugin

pytestmark = pytest.mark.versions

_LOADED_IN_A_TASK = """
import json, sys
import airflow.sdk.plugins_manager as manager
before = set(sys.modules)
plugins, errors = manager._get_plugins()
assert not errors, errors
loaded = [plugin.name for plugin in plugins]
there = set(sys.modules)
from airflow_reindex_provider import PostgresSource, PostgresTarget, ReindexDag, Stream
source = PostgresSource("shop", table="public.products", primary_key="id", cursor_field="updated_at")
ReindexDag(Stream(name="products", source=source, target=PostgresTarget("search", index="products")), schedule=None)
told = {"plugins": loaded, "added": sorted(there - before), "by_a_dag": sorted(set(sys.modules) - there)}
print(json.dumps(told))
"""
"""What Airflow's task process does before it runs a task, and which modules come with it; and with the file of a Dag."""


@pytest.fixture(scope="module")
def found() -> Any:
    env = {**os.environ, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run(
        [sys.executable, "-c", _LOADED_IN_A_TASK], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_file_of_a_dag_brings_no_other_dags_parts_and_no_clients(found: Any) -> None:
    """Each task imports it: rebuilds, sweeps, sessions and whatever they need wait until somebody asks for them."""
    brought = set(found["by_a_dag"])
    assert "airflow_reindex_provider.dags.reindex" in brought
    package = "airflow_reindex_provider"
    others = [f"{package}.operators.{name}" for name in ("rebuild", "approving", "sweep", "maintenance", "watch")]
    sessions = [f"{package}.{side}.postgres.session" for side in ("sources", "targets")]
    theirs = ["airflow.providers.standard.operators.hitl", "airflow.providers.postgres.hooks.postgres"]
    clients = [
        "psycopg",
        "opensearchpy",
        "elasticsearch",
        "lancedb",
        "weaviate",
        "openlineage.client",
        "opentelemetry.sdk",
    ]
    assert not brought & {*others, *sessions, *theirs, *clients}


def test_a_task_process_gets_nothing_but_the_entry(found: Any) -> None:
    """No web framework, no database's models, nothing else of this package."""
    assert "reindex" in found["plugins"]
    own = [module for module in found["added"] if module.startswith("airflow_reindex_provider")]
    assert [module for module in own if module != "airflow_reindex_provider"] == [
        "airflow_reindex_provider.plugin",
        "airflow_reindex_provider.plugin.bundle",
        "airflow_reindex_provider.plugin.entry",
    ]
    standard = sys.stdlib_module_names
    others = [m for m in found["added"] if m not in own and m.split(".")[0] not in standard]
    assert not [
        m for m in others if m.split(".")[0] in ("fastapi", "starlette", "sqlalchemy", "pydantic", "jsonschema")
    ]
    assert not [m for m in others if m.startswith(("airflow.models", "airflow.api_fastapi"))]


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a page in it, and a secret beside it."""
    folder = tmp_path / "dist"
    (folder / "parts").mkdir(parents=True)
    (folder / "main.js").write_text("export default 1;")
    (folder / "parts" / "plot.css").write_text("a {}")
    (folder / "parts" / "mark.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("swordfish")
    (folder / "link.js").symlink_to(tmp_path / "secret.txt")
    for module in (entry, static):
        monkeypatch.setattr(module, "BUNDLE", folder)
    return folder


@pytest.mark.parametrize(
    ("base_url", "path"),
    [("", ""), ("http://localhost:8080", ""), ("https://a.test/airflow/", "/airflow"), ("https://a.test/x/y", "/x/y")],
)
def test_the_page_is_found_below_a_base_path(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, base_url: str, path: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    apps = ReindexPlugin().react_apps
    assert [app["destination"] for app in apps] == ["nav", "dag", "dag_run", "dashboard"]
    assert len({app["url_route"] for app in apps}) == len(apps)
    (url,) = {app["bundle_url"] for app in apps}
    assert url.startswith(f"{path}/reindex/static/main.js?v=")


def test_without_the_bundle_there_is_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "BUNDLE", tmp_path)
    assert ReindexPlugin().react_apps == []


def test_airflow_lists_the_plugin(server: Server) -> None:
    found = server.client("anna").get("/api/v2/plugins").json()["plugins"]
    (ours,) = [plugin for plugin in found if plugin["name"] == "reindex"]
    assert ours["fastapi_apps"][0]["url_prefix"] == "/reindex"
    assert server.client("anna").get("/api/v2/plugins/importErrors").json()["total_entries"] == 0


def test_files_of_the_page(server: Server, bundle: Path) -> None:
    """With their types; kept for ever by their hash, asked for again without it."""
    client = server.client()
    url = ReindexPlugin().react_apps[0]["bundle_url"]
    by_hash = client.get(url)
    assert (by_hash.status_code, by_hash.text) == (200, "export default 1;")
    assert by_hash.headers["content-type"].startswith("text/javascript")
    assert "immutable" in by_hash.headers["cache-control"]
    assert by_hash.headers["x-content-type-options"] == "nosniff"
    plain = client.get("/reindex/static/main.js?v=other")
    assert plain.headers["cache-control"] == "public, no-cache"
    again = client.get("/reindex/static/main.js", headers={"If-None-Match": f'"x", W/{plain.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    head = client.head("/reindex/static/main.js")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", plain.headers["etag"])
    assert client.get("/reindex/static/parts/plot.css").headers["content-type"].startswith("text/css")
    assert client.get("/reindex/static/parts/mark.svg").headers["content-type"] == "image/svg+xml"


NO_FILES = (
    "",
    "parts",
    "parts/",
    "../secret.txt",
    "%2e%2e/secret.txt",
    "..%2fsecret.txt",
    "parts/../../secret.txt",
    "parts/%2e%2e/main.js",
    "/main.js",
    "%2Fetc%2Fpasswd",
    "main.js%00",
    "main.js/",
    "link.js",
    "..%5csecret.txt",
)


def test_nothing_beside_the_pages_files(server: Server, bundle: Path) -> None:
    """No listing of a folder, no way out of it."""
    client = server.client()
    for path in NO_FILES:
        answer = client.get(f"/reindex/static/{path}")
        # A client that resolves the dots itself asks Airflow, which has a page for every address.
        assert answer.status_code == 404 or answer.headers["content-type"].startswith("text/html"), path
        told = [word for word in ("swordfish", "export default", "plot.css", "root:") if word in answer.text]
        assert not told, path


def test_the_api_describes_itself(server: Server, metadata: Any) -> None:
    """Every route with what it answers; the page that shows it is beside it."""
    client = server.client("anna")
    described = client.get(f"{API}/openapi.json").json()
    assert described["servers"] == [{"url": "/reindex"}]
    assert len(described["paths"]) == 7
    for path, methods in described["paths"].items():
        for method, said in methods.items():
            assert {"401", "403", "422"} <= said["responses"].keys(), (method, path)
            assert all("application/problem+json" in said["responses"][s]["content"] for s in ("401", "403", "422"))
    assert "StreamStatus" in described["components"]["schemas"]
    docs = client.get(f"{API}/docs")
    assert (docs.status_code, "openapi.json" in docs.text) == (200, True)
