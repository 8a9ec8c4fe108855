"""Who asks, and what Airflow's auth manager lets them see and do."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails, VariableDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from airflow.models.dag import DagModel
from fastapi import Depends

from airflow_reindex_provider.checkpoints.variable import VariableCheckpoint
from airflow_reindex_provider.control.acts import Act
from airflow_reindex_provider.control.status.catalogue import CarryingDag, StreamEntry, list_streams
from airflow_reindex_provider.plugin.problems import Problem

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class Person:
    """Whoever has signed in. Nothing is remembered beyond the request."""

    def __init__(self, user: Any, session: Session) -> None:
        self._user = user
        self._session = session
        self._manager = get_auth_manager()
        self._teams: dict[str, str | None] = {}

    @property
    def id(self) -> str:
        return str(self._user.get_id())

    @property
    def name(self) -> str:
        return str(self._user.get_name())

    def streams(self) -> dict[str, StreamEntry]:
        """Those that the person may see, with those of their Dags.

        :raises Problem: 403, for a person who may read no Dag's XComs at all."""
        found = list_streams(self._session, readable=self.readable)
        if not found and not self._manager.is_authorized_dag(
            method="GET", access_entity=DagAccessEntity.XCOM, user=self._user
        ):
            raise Problem(
                403, "forbidden", "You may not read the XComs of Dags. Ask an administrator of Airflow for that right."
            )
        return found

    def stream(self, name: str) -> StreamEntry:
        """:raises Problem: 404, whether it does not exist or may not be seen."""
        if entry := self.streams().get(name):
            return entry
        raise Problem(
            404,
            "no-such-stream",
            f"There is no stream {name!r}, or you may not read its Dags. GET /reindex/api/v1/streams lists those you may read.",
        )

    def readable(self, dag_ids: Collection[str]) -> set[str]:
        """The Dags that the person may read, XComs included."""
        self._learn_teams(dag_ids)
        by_team: dict[str | None, set[str]] = {}
        for dag_id in dag_ids:
            by_team.setdefault(self._teams.get(dag_id), set()).add(dag_id)
        seen: set[str] = set()
        for team, of_team in by_team.items():
            seen |= self._manager.filter_authorized_dag_ids(
                dag_ids=of_team, user=self._user, method="GET", team_name=team
            )
        # One question for all of them, as an auth manager over the network wants it; most people may read all or nothing.
        questions: Any = [
            {"method": "GET", "access_entity": DagAccessEntity.XCOM, "details": self._details(dag_id)}
            for dag_id in sorted(seen)
        ]
        if self._manager.batch_is_authorized_dag(questions, user=self._user):
            return seen
        return {dag_id for dag_id in seen if self._may("GET", DagAccessEntity.XCOM, dag_id)}

    def may_start(self, entry: StreamEntry, act: Act, arguments: Any = None) -> str | None:
        """None if so; else which right is missing."""
        dag = entry.dag_of(act.role)
        if dag is not None and not self._may("POST", DagAccessEntity.RUN, dag.dag_id):
            return f"to start runs of Dag {dag.dag_id!r}"
        variables = VariableCheckpoint.__name__ == entry.about.store or (arguments or {}).get("to") == "variable"
        if act.touches_store and variables and not self._may_change_variables(dag):
            return "to change Airflow's Variables, where the stream's checkpoint is kept"
        return None

    def may_cancel(self, dag_id: str) -> bool:
        self._learn_teams([dag_id])
        return self._may("PUT", DagAccessEntity.RUN, dag_id)

    def may_answer(self, dag_id: str) -> bool:
        self._learn_teams([dag_id])
        return self._may("PUT", DagAccessEntity.HITL_DETAIL, dag_id)

    def is_asked(self, assigned: Collection[str]) -> bool:
        """Whether the person is among those whom a task asks. :param assigned: their ids; none is everybody."""
        return not assigned or self._manager.is_authorized_hitl_task(assigned_users=set(assigned), user=self._user)

    def _may(self, method: Any, entity: DagAccessEntity, dag_id: str) -> bool:
        details = self._details(dag_id)
        return self._manager.is_authorized_dag(method=method, access_entity=entity, details=details, user=self._user)

    def _may_change_variables(self, dag: CarryingDag | None) -> bool:
        team = self._teams.get(dag.dag_id) if dag else None
        return self._manager.is_authorized_variable(
            method="PUT", details=VariableDetails(team_name=team), user=self._user
        )

    def _details(self, dag_id: str) -> DagDetails:
        return DagDetails(id=dag_id, team_name=self._teams.get(dag_id))

    def _learn_teams(self, dag_ids: Iterable[str]) -> None:
        unknown = [dag_id for dag_id in dag_ids if dag_id not in self._teams]
        if unknown and conf.getboolean("core", "multi_team"):
            self._teams |= DagModel.get_dag_id_to_team_name_mapping(unknown, session=self._session)


def _person(user: GetUserDep, session: SessionDep) -> Person:
    return Person(user, session)


PersonDep = Annotated[Person, Depends(_person)]
"""Every route takes it first: without a session it is a 401 before anything else is looked at."""
