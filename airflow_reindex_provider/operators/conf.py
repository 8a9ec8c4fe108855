"""What the conf of a run may say. A key that nothing reads would make a run that does something else, and ends well."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf as settings

from airflow_reindex_provider.core.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Context

_OF_JINJA = frozenset(
    {"params", "dag_run", "conf", "get", "or", "and", "not", "if", "else", "is", "none", "true", "false"}
)


def require_known(context: Context, templates: Iterable[Any] = ()) -> None:
    """Ask it of the first task of a run.

    In a Dag of ours every key must be a field of its form. In an author's Dag other tasks may read what they like, so there a
    key is wrong that looks like one that this task's templates read.

    :param templates: the task's arguments, before they were rendered.
    :raises ConfigurationError: names the keys that nothing reads, and the right ones.
    """
    run: Any = context["dag_run"]
    given = dict(run.conf or {})
    if not given:
        return
    dag: Any = context["dag"]
    fields = [*dag.params, *(name for name in context["task"].params if name not in dag.params)]
    if not getattr(dag, "reads_all_conf", False):
        read = _names(templates)
        if not read:
            return
        fields = list(dict.fromkeys([*read, *fields]))
        given = {key: value for key, value in given.items() if key in fields or _meant(key, read)}
    if unknown := [key for key in given if key not in fields]:
        meant = [f"{key!r} is perhaps {found[0]!r}" for key in unknown if (found := _meant(key, fields))]
        raise ConfigurationError(
            f"The conf of run {run.run_id!r} has keys that nothing reads: {', '.join(map(repr, unknown))}."
            f" {'; '.join(meant)}{'. ' if meant else ''}The Dag reads {', '.join(map(repr, fields))}. Trigger it again with the"
            " right ones; a key of your own has to be among the Dag's params."
        )
    if not settings.getboolean("core", "dag_run_conf_overrides_params"):
        raise ConfigurationError(
            f"The conf of run {run.run_id!r} has {', '.join(map(repr, given))}, and Airflow does not give it to the Dag:"
            " [core] dag_run_conf_overrides_params is off. Set it, or trigger the Dag without conf."
        )


def _names(templates: Iterable[Any]) -> list[str]:
    """What the templates may read of params or conf, in their order."""
    texts = [text for text in templates if isinstance(text, str) and re.search(r"\b(params|conf)\b", text)]
    return list(
        dict.fromkeys(
            word for text in texts for word in re.findall(r"[A-Za-z_]\w*", text) if word.lower() not in _OF_JINJA
        )
    )


def _meant(key: str, names: Iterable[str]) -> list[str]:
    """Those that look like the key: by its letters, or since they have a word in common, as ``start`` and ``window_start``."""
    names = list(names)
    words = set(re.split(r"[\W_]+", key.lower()))
    close = get_close_matches(key.lower(), names, n=1)
    return close or [name for name in names if words & set(name.lower().split("_"))]
