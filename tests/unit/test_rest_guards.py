"""Nobody sees or does by REST what Airflow does not allow them: all routes are walked over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from rest_client import API, Server
from streams_of_rest import dags, stream

from airflow_reindex_provider import TableCheckpoint
from airflow_reindex_provider.control.acts import ACTS

pytestmark = pytest.mark.versions

FOR_ANYBODY = {"/static/{path:path}"}
"""Files of the page, which say nothing of any stream."""
FOR_ALL_WHO_HAVE_SIGNED_IN = {"/api/v1/openapi.json", "/api/v1/docs"}
"""What the API is like, without data."""
VALUES = {"name": "items", "dag_id": "rebuild_items", "act": "run", "path": "main.js"}
BODIES = {"/api/v1/streams/{name}/runs/{dag_id}/{run_id}/answer": {"approve": True}}


@pytest.fixture
def waiting(metadata: Any) -> str:
    """Two streams; a rebuild of the first waits for a person. The run's id."""
    metadata.parse(*dags(stream()), *dags(stream("others")))
    run_id: str = metadata.run("rebuild_items", "running", tasks={("approve", -1): "deferred"})
    metadata.ask("rebuild_items", run_id, "approve")
    return run_id


def routes(app: Any, run_id: str = "manual__1", **values: str) -> list[tuple[str, str, str]]:
    """Method, template and path of every route that the app has."""
    found = []
    for route in app.routes:
        path = route.path.replace("{path:path}", "{path}").format(**(VALUES | {"run_id": run_id} | values))
        found += [(method, route.path, path) for method in sorted(route.methods - {"HEAD"})]
    return found


def call(client: Any, method: str, template: str, path: str) -> Any:
    body = BODIES.get(template, {}) if method != "GET" else None
    return client.request(method, f"/reindex{path}", json=body)


def unguarded(app: Any) -> list[str]:
    """The routes that answer somebody who has not signed in."""
    from fastapi.testclient import TestClient

    client = TestClient(app, base_url="http://airflow.test", raise_server_exceptions=False)
    answers = {
        f"{method} {template}": client.request(method, path, json=None if method == "GET" else {}).status_code
        for method, template, path in routes(app)
        if template not in FOR_ANYBODY
    }
    return [route for route, status in answers.items() if status != 401]


def own_app() -> Any:
    from airflow_reindex_provider.plugin.app import make_app

    return make_app()


def is_problem(answer: Any, status: int) -> bool:
    found = answer.json()
    return (
        answer.status_code == status == found["status"]
        and answer.headers["content-type"] == "application/problem+json"
        and bool(found["detail"])
    )


def test_every_route_wants_a_session(server: Server, waiting: str) -> None:
    app = own_app()
    assert len(routes(app)) >= 10
    assert unguarded(app) == []
    for method, template, path in routes(app, waiting):
        if template not in FOR_ANYBODY:
            answer = call(server.client(), method, template, path)
            assert is_problem(answer, 401), (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"


def test_a_route_without_a_guard_is_found(server: Server) -> None:
    """What the test above would say of it."""
    app = own_app()
    app.add_api_route("/api/v1/secret/{name}", lambda name: {"all": name})
    assert unguarded(app) == ["GET /api/v1/secret/{name}"]


@pytest.mark.parametrize("token", ["", "nonsense", "e30.e30.e30"])
def test_a_token_that_is_none(server: Server, waiting: str, token: str) -> None:
    """Whether it comes as a cookie or in the header."""
    for method, template, path in routes(own_app(), waiting):
        if template in FOR_ANYBODY:
            continue
        by_header = server.client()
        by_header.headers["Authorization"] = f"Bearer {token or 'x'}"
        assert is_problem(call(by_header, method, template, path), 401)


def test_who_may_read_no_dag_is_told_so(server: Server, waiting: str) -> None:
    client = server.client("nobody", allow=lambda *asked: False)
    for method, template, path in routes(own_app(), waiting):
        if template not in FOR_ANYBODY | FOR_ALL_WHO_HAVE_SIGNED_IN:
            assert is_problem(call(client, method, template, path), 403), (method, path)


@pytest.mark.parametrize("entity", ["DAG", "XCOM"])
def test_a_stream_that_may_not_be_seen_is_as_if_it_were_not_there(server: Server, waiting: str, entity: str) -> None:
    """Each route says the same of it as of one that nobody has."""
    client = server.client("anna", allow=lambda method, what, id: not (what == entity and str(id).endswith("_items")))
    found = client.get(f"{API}/streams").json()
    assert ([s["name"] for s in found["streams"]], found["total"]) == (["others"], 1)
    for method, template, path in routes(own_app(), waiting):
        if "{name}" in template:
            hidden = call(client, method, template, path)
            missing = call(client, method, template, path.replace("items", "nowhere"))
            assert is_problem(hidden, 404), (method, path)
            assert hidden.text.replace("items", "nowhere") == missing.text
    with_others = routes(own_app(), waiting, name="others", dag_id="rebuild_items")
    assert all(is_problem(call(client, *route), 404) for route in with_others if "{run_id}" in route[1]), (
        "a run of a hidden stream, by way of one that may be seen"
    )


def test_a_dag_that_may_not_be_seen_is_not_told_of(server: Server, waiting: str) -> None:
    """Its runs are not there either, and what it does cannot be asked for."""
    client = server.client("anna", allow=lambda method, what, id: id != "rebuild_items")
    found = client.get(f"{API}/streams/items").json()
    assert "rebuild_items" not in json.dumps(found)
    assert "rebuild" not in [act["name"] for act in found["can"]]
    assert is_problem(client.post(f"{API}/streams/items/acts/rebuild", json={}), 409)
    assert is_problem(client.get(f"{API}/streams/items/runs/rebuild_items/{waiting}"), 404)


def test_who_may_only_read_can_do_nothing(server: Server, metadata: Any, waiting: str) -> None:
    client = server.client("viewer", "VIEWER")
    found = client.get(f"{API}/streams/items").json()
    assert found["can"] == []
    assert found["may"] == {"cancel": False, "answer": False}
    for name in ACTS:
        assert is_problem(client.post(f"{API}/streams/items/acts/{name}", json={}), 403), name
    for method, template, path in routes(own_app(), waiting):
        answer = call(client, method, template, path)
        if method == "GET":
            assert answer.status_code == 200 or template in FOR_ANYBODY
        else:
            assert is_problem(answer, 403), (method, path)
    after = client.get(f"{API}/streams/items").json()["stream"]
    assert (after["state"], len(after["recent"])) == ("waiting for approval", 1)


@pytest.mark.parametrize(
    ("right", "act"), [("RUN", "rebuild"), ("RUN", "look"), ("VARIABLE", "parked-retry"), ("VARIABLE", "rename")]
)
def test_each_act_asks_for_its_right(server: Server, waiting: str, right: str, act: str) -> None:
    """Starting needs the right to start runs; what changes the checkpoint's Variable needs the right to change Variables."""
    client = server.client("anna", allow=lambda method, what, id: not (what == right and method != "GET"))
    assert act not in [a["name"] for a in client.get(f"{API}/streams/items").json()["can"]]
    refused = client.post(f"{API}/streams/items/acts/{act}", json={"name": "new"} if act == "rename" else {})
    assert is_problem(refused, 403)
    everything = [a["name"] for a in server.client("bert").get(f"{API}/streams/items").json()["can"]]
    assert everything == list(ACTS)


def test_a_checkpoint_in_a_table_asks_for_no_right_on_variables(server: Server, metadata: Any) -> None:
    """Unless it is to move to one."""
    metadata.parse(*dags(stream("tabled", checkpoint=TableCheckpoint("search_db"))))
    client = server.client("anna", allow=lambda method, what, id: what != "VARIABLE")
    assert "parked-retry" in [a["name"] for a in client.get(f"{API}/streams/tabled").json()["can"]]
    move = f"{API}/streams/tabled/acts/checkpoint-move"
    assert is_problem(client.post(move, json={"to": "variable"}), 403)
    assert client.post(move, json={"to": "table", "conn_id": "shop_db"}).status_code == 201


def test_cancel_and_answer_have_rights_of_their_own(server: Server, waiting: str) -> None:
    run = f"{API}/streams/items/runs/rebuild_items/{waiting}"
    no_cancel = server.client("anna", allow=lambda method, what, id: (method, what) != ("PUT", "RUN"))
    assert no_cancel.get(f"{API}/streams/items").json()["may"] == {"cancel": False, "answer": True}
    assert is_problem(no_cancel.post(f"{run}/cancel", json={}), 403)
    no_answer = server.client("bert", allow=lambda method, what, id: what != "HITL_DETAIL")
    assert no_answer.get(f"{API}/streams/items").json()["may"] == {"cancel": True, "answer": False}
    assert is_problem(no_answer.post(f"{run}/answer", json={"approve": True}), 403)


SENT_FROM: list[tuple[dict[str, str], bool]] = [
    ({}, True),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "http://airflow.test"}, True),
    ({"Origin": "http://airflow.test"}, True),
    ({"Origin": "https://airflow.test"}, True),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "same-site", "Origin": "http://other.airflow.test"}, False),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://airflow.test"}, False),
    ({"Origin": "http://evil.test"}, False),
    ({"Origin": "http://airflow.test:8080"}, False),
    ({"Origin": "http://airflow.test.evil.test"}, False),
    ({"Origin": "null"}, False),
    ({"Origin": "http://["}, False),
    ({"Origin": "http://airflow.test", "X-Forwarded-Host": "evil.test"}, True),
    ({"Origin": "http://evil.test", "X-Forwarded-Host": "evil.test"}, False),
    ({"Origin": "http://evil.test", "Authorization": "Basic YTpi"}, False),
    ({"Origin": "http://evil.test", "Authorization": "Bearer"}, False),
    ({"Origin": "http://evil.test", "Authorization": "Bearer "}, False),
]
"""Headers of requests to http://airflow.test, and whether they may change anything."""


def test_what_other_sites_pages_send_is_refused(server: Server, waiting: str) -> None:
    """The browser sends Airflow's cookie along with it."""
    client = server.client("anna")
    for headers, allowed in SENT_FROM:
        answer = client.post(f"{API}/streams/items/acts/run", json={}, headers=headers)
        assert answer.status_code in (200, 201) if allowed else is_problem(answer, 403), headers


def test_a_token_in_the_header_may_come_from_anywhere(server: Server, waiting: str) -> None:
    """No page has one that was not given it."""
    client = server.client("anna")
    token = client.cookies["_token"]
    client.cookies.clear()
    headers = {"Origin": "http://tool.test", "Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {token}"}
    assert client.post(f"{API}/streams/items/acts/run", json={}, headers=headers).status_code == 201


def test_an_address_for_people_is_known(server: Server, waiting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://people.test/airflow")
    headers = {"Origin": "https://people.test"}
    client = server.client("anna")
    assert client.post(f"{API}/streams/items/acts/run", json={}, headers=headers).status_code == 201
    headers = {"Origin": "http://people.test"}
    assert client.post(f"{API}/streams/items/acts/run", json={}, headers=headers).status_code == 403


BODIES_SENT: list[tuple[bytes, dict[str, str], int]] = [
    (b"{}", {"Content-Type": "application/json; charset=utf-8"}, 201),
    (b"", {"Content-Type": "application/json"}, 201),
    (b"{}", {"Content-Type": "text/plain"}, 415),
    (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    (b"{}", {"Content-Type": "text/plain; application/json"}, 415),
    (b"{}", {}, 415),
    (b"{}", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
    (b"[]", {"Content-Type": "application/json"}, 400),
    (b"null", {"Content-Type": "application/json"}, 400),
    (b"{", {"Content-Type": "application/json"}, 400),
    (b"\xff\xfe{\x00}\x00", {"Content-Type": "application/json"}, 400),
    (b'{"max_lag_s": NaN}', {"Content-Type": "application/json"}, 400),
    (b'{"wait": true, "wait": false}', {"Content-Type": "application/json"}, 400),
    (b'{"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", {"Content-Type": "application/json"}, 400),
    (b" " * 65_537, {"Content-Type": "application/json"}, 413),
    (b'{"unknown": 1}', {"Content-Type": "application/json"}, 422),
]
"""With their headers, and the status of the answer."""


def test_bodies_that_are_no_small_json_object(server: Server, waiting: str) -> None:
    """In one piece, with its length said, or in pieces."""

    def pieces(body: bytes) -> Iterator[bytes]:
        yield from (body[i : i + 1000] for i in range(0, len(body), 1000))

    client = server.client("anna")
    for body, headers, status in BODIES_SENT:
        for content in (body, pieces(body)):
            answer = client.post(f"{API}/streams/items/acts/run", content=content, headers=headers)
            good = answer.status_code in (200, 201) if status == 201 else is_problem(answer, status)
            assert good, (body[:40], headers, answer.text)


def test_a_method_is_not_put_on_by_a_header(server: Server, waiting: str) -> None:
    client = server.client("anna")
    answer = client.get(f"{API}/streams/items/acts/run", headers={"X-HTTP-Method-Override": "POST"})
    assert is_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_errors_of_the_framework_are_problems_too(
    server: Server, waiting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client("anna")
    assert is_problem(client.get(f"{API}/nothing"), 404)
    assert is_problem(client.get("/reindex/"), 404)
    assert is_problem(client.get(f"{API}/streams/"), 404)
    assert is_problem(client.delete(f"{API}/streams"), 405)
    assert is_problem(client.get(f"{API}/streams", params={"limit": "many"}), 422)
    assert is_problem(client.get(f"{API}/streams", params={"limit": 501}), 422)
    assert is_problem(client.get(f"{API}/streams", params={"offset": -1}), 422)
    assert is_problem(client.get(f"{API}/streams", params={"state": "sad"}), 422)
    assert is_problem(client.get(f"{API}/streams", params={"order_by": "colour"}), 422)


def test_an_error_that_nobody_foresaw_says_nothing_of_itself(
    server: Server, waiting: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow_reindex_provider.plugin import reading

    def broken(session: Any) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(reading, "scheduler_status", broken)
    answer = server.client("anna").get(f"{API}/streams")
    assert is_problem(answer, 500)
    assert "swordfish" not in answer.text
    assert f"Error {answer.json()['error_id']}" in caplog.text
