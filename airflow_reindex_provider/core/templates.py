"""Airflow's templates in texts that nothing renders: they would reach a database as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from airflow_reindex_provider.core.errors import ConfigurationError

TEMPLATE_NAMES = frozenset(
    {
        *("asset_state_store", "conn", "dag", "dag_run", "data_interval_end", "data_interval_start", "ds", "ds_nodash"),
        *("exception", "expanded_ti_count", "inlet_events", "inlets", "logical_date", "macros", "map_index_template"),
        *("outlet_events", "outlets", "params", "partition_date", "partition_key", "prev_data_interval_end_success"),
        *("prev_data_interval_start_success", "prev_end_date_success", "prev_start_date_success", "reason", "run_id"),
        *("task", "task_instance", "task_instance_key_str", "task_reschedule_count", "task_state_store"),
        *("templates_dict", "test_mode", "ti", "triggering_asset_events", "try_number", "ts", "ts_nodash"),
        *("ts_nodash_with_tz", "var"),
    }
)
"""What Airflow lets a template begin with. Braces around anything else mean something to others: arrays of arrays to Postgres."""

_EXPRESSION = re.compile(rf"{{{{-?\s*(?:{'|'.join(sorted(TEMPLATE_NAMES))})(?=[\s.\[|(}}])[^{{}}]*}}}}")
_STATEMENT = re.compile(r"{%-?\s*(?:block|call|filter|for|if|import|include|macro|set|with)\s[^{}]*%}")
_ANY_TEXT = ("group",)
"""Fields that hold a value from a table, which may look like anything."""


def refuse_templates(owner: str, **values: Any) -> None:
    """:param values: by the names that an author knows. :raises ConfigurationError: a text in one of them, or in its fields, is a
    template; names the field and the remedy."""
    for name, value in values.items():
        for where, found in _templates_in(value, name):
            raise ConfigurationError(
                f"{owner}: {where} has {found!r}, and is no template: nothing would render it. A run adds its own window to what"
                " it reads; what differs between deployments is Python in the Dag file, os.environ['SHOP_SCHEMA'] for example, or"
                " ${SHOP_SCHEMA} in a file of streams."
            )


def _templates_in(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Each template, and the field that has it."""
    if isinstance(value, str):
        for found in (*_EXPRESSION.finditer(value), *_STATEMENT.finditer(value)):
            yield where, found[0]
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _templates_in(one, where)
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            if one.name not in _ANY_TEXT:
                yield from _templates_in(getattr(value, one.name), f"{where}.{one.name}")
