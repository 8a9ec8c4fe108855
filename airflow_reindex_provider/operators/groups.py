"""What the rebuild and the sweep of a stream with groups share: which groups, a task for one of them, and how all fared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import AirflowFailException

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.groups import known_groups
from airflow_reindex_provider.core.published import BUSY_KEY
from airflow_reindex_provider.events import Event
from airflow_reindex_provider.operators.base import StreamOperator, name_instance
from airflow_reindex_provider.operators.conf import require_known

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_reindex_provider.stream import Stream


class ListGroupsOperator(StreamOperator):
    """Returns the groups to work on: those that the form's ``groups`` names, else all that have a live index.

    :param tells_start: of a rebuild of them, before each group tells its own. Airflow notes with the first event of its kind
        which alias it came by; two groups that tell theirs at one moment would both note it, and Airflow fails the second task.
    """

    def __init__(self, *, stream: Stream, tells_start: bool = False, **kwargs: Any) -> None:
        if tells_start:
            kwargs["outlets"] = [*(kwargs.get("outlets") or []), stream.events]
        super().__init__(stream=stream, **kwargs)
        self.tells_start = tells_start

    def execute(self, context: Context) -> list[str]:
        require_known(context)
        stream = self.stream
        known = known_groups(stream.name, stream.checkpoint)
        asked = list(dict.fromkeys(str(value) for value in context["params"].get("groups") or ()))
        if unknown := [value for value in asked if value not in known]:
            raise ConfigurationError(
                f"Stream {stream.name!r} has no groups {unknown}: no run of its ReindexDag has met them. Name others, or leave"
                " groups empty for all."
            )
        groups = asked or [value for value in known if self._is_live(value)]
        if not groups:
            raise ConfigurationError(f"Stream {stream.name!r} has no group yet: let a run of its ReindexDag load some.")
        self.log.info("Groups: %s.", ", ".join(map(repr, groups)))
        if self.tells_start and not context["params"].get("rollback_to"):
            self.tell_event(context, Event.REBUILD_STARTED, group=None, groups=groups)
        return groups

    def _is_live(self, value: str) -> bool:
        own = self.stream.of_group(value)
        with own.target.open(own.name) as target:
            found = any(generation.live for generation in target.generations())
        if not found:
            self.log.warning("Group %r has no live index yet and is left to the first run that loads it.", value)
        return found


class OfGroupOperator(StreamOperator):
    """A task for a stream, or for one group of it.

    :param group: value of the group, in a mapped task group over a stream's groups. A template.
    """

    template_fields: Sequence[str] = ("group",)

    def __init__(self, *, group: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group = group

    def pre_execute(self, context: Any) -> None:
        name_instance(context, self.group)
        super().pre_execute(context)

    @property
    def own(self) -> Stream:
        """The stream that the task works on."""
        return self.stream_of(self.group)

    def pull(self, context: Context, task_id: str, key: str = "return_value") -> Any:
        """An XCom of another task: of the same group, where it is one of a group."""
        ti: Any = context["ti"]
        if self.group is None:
            return ti.xcom_pull(task_ids=task_id, key=key)
        return ti.xcom_pull(task_ids=task_id, key=key, map_indexes=ti.map_index)


class AllGroupsOperator(StreamOperator):
    """Runs after the work on each group, whatever became of it.

    :param groups_task_id: which groups. :param group_task_id: what ends the work on each. :param lease_task_id: what begins
        it, if that is another one.
    """

    def __init__(
        self, *, groups_task_id: str, group_task_id: str, lease_task_id: str | None = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("trigger_rule", TriggerRule.ALL_DONE)
        super().__init__(**kwargs)
        self.groups_task_id = groups_task_id
        self.group_task_id = group_task_id
        self.lease_task_id = lease_task_id or group_task_id

    def by_group(self, context: Context) -> dict[str, Any]:
        """What each of them returned; nothing where it did not finish."""
        return self._pulled(context, self.group_task_id)

    def busy(self, context: Context) -> dict[str, str]:
        """Those that were left alone, and why: another run held their lease."""
        return {group: why for group, why in self._pulled(context, self.lease_task_id, BUSY_KEY).items() if why}

    def _pulled(self, context: Context, task_id: str, key: str = "return_value") -> dict[str, Any]:
        ti: Any = context["ti"]
        groups: Any = ti.xcom_pull(task_ids=self.groups_task_id)
        if not groups:
            raise AirflowFailException(f"Task {self.groups_task_id!r} listed no groups; its log says why.")
        found = ti.xcom_pull(task_ids=task_id, key=key, map_indexes=range(len(groups)))
        return dict(zip(groups, found, strict=True))
