"""The routes that do something: start a run, cancel one, answer what one asks."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.utils.types import DagRunTriggeredByType
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_reindex_provider.control import steering
from airflow_reindex_provider.control.acts import ACTS, Act, UnknownArgumentsError
from airflow_reindex_provider.plugin.bodies import BodyDep
from airflow_reindex_provider.plugin.described import ANSWERED, CANCELLED, STARTED, takes
from airflow_reindex_provider.plugin.problems import Problem
from airflow_reindex_provider.plugin.reading import seen_run
from airflow_reindex_provider.plugin.rights import Person, PersonDep

router = APIRouter(prefix="/streams", tags=["acts"])


@router.post("/{name}/acts/{act}", responses=STARTED, status_code=201, openapi_extra=takes("The act's arguments."))
def start_act(
    person: PersonDep, body: BodyDep, session: SessionDep, request: Request, name: str, act: str
) -> JSONResponse:
    """Start a run that does it. Where that is under way already, you get that run, with 200 instead of 201."""
    entry = person.stream(name)
    wanted = _act(act)
    if missing := person.may_start(entry, wanted, body):
        raise _forbidden(missing)
    conf = wanted.conf(body)
    started = steering.start(session, entry, wanted.role, conf, by=_by(person, request))
    session.commit()
    content = {"dag_id": started.dag_id, "run_id": started.run_id, "created": started.created}
    return JSONResponse(content, status_code=201 if started.created else 200)


@router.post("/{name}/runs/{dag_id}/{run_id}/cancel", responses=CANCELLED, openapi_extra=takes("Nothing.", {}))
def cancel_run(
    person: PersonDep, body: BodyDep, session: SessionDep, request: Request, name: str, dag_id: str, run_id: str
) -> JSONResponse:
    """End a run: its tasks stop between two chunks. `cancelled` is false where it was over already."""
    seen_run(person, session, name, dag_id, run_id)
    _only(body, ())
    if not person.may_cancel(dag_id):
        raise _forbidden(f"to change runs of Dag {dag_id!r}")
    cancelled = steering.cancel(session, dag_id, run_id, by=_by(person, request))
    session.commit()
    return JSONResponse({"cancelled": cancelled})


@router.post(
    "/{name}/runs/{dag_id}/{run_id}/answer",
    responses=ANSWERED,
    openapi_extra=takes("The answer.", {"approve": {"type": "boolean"}}),
)
def answer_run(
    person: PersonDep, body: BodyDep, session: SessionDep, request: Request, name: str, dag_id: str, run_id: str
) -> JSONResponse:
    """Approve or reject what a run waits for."""
    seen_run(person, session, name, dag_id, run_id)
    _only(body, ("approve",))
    approve = body.get("approve")
    if not isinstance(approve, bool):
        raise UnknownArgumentsError('Send {"approve": true} or {"approve": false}.')
    if not person.may_answer(dag_id):
        raise _forbidden(f"to answer what runs of Dag {dag_id!r} ask")
    task_id = steering.answer(
        session, dag_id, run_id, approve=approve, by=_by(person, request), may_answer=person.is_asked
    )
    session.commit()
    return JSONResponse({"task_id": task_id})


def _act(name: str) -> Act:
    if name in ACTS:
        return ACTS[name]
    raise Problem(
        404, "no-such-act", f"There is nothing called {name!r} to do to a stream. There are: {', '.join(ACTS)}."
    )


def _by(person: Person, request: Request) -> steering.By:
    # Browsers alone send this: what comes from the page is told from what a program has asked for.
    through = DagRunTriggeredByType.UI if "sec-fetch-site" in request.headers else DagRunTriggeredByType.REST_API
    return steering.By(name=person.name, through=through, id=person.id)


def _forbidden(missing: str) -> Problem:
    return Problem(403, "forbidden", f"You lack the right {missing}. Ask an administrator of Airflow for it.")


def _only(body: dict[str, Any], names: tuple[str, ...]) -> None:
    if unknown := [key for key in body if key not in names]:
        takes = ", ".join(names) or "nothing"
        raise UnknownArgumentsError(f"The body has {unknown[0]!r}, which nothing reads. It takes {takes}.")
