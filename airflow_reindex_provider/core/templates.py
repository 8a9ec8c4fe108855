"""Airflow's templates in texts that nothing renders: they would reach a database as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

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


def templates_in(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Each template in the texts of a value, its fields and theirs, and the field that has it.

    :param where: what the value is called."""
    if isinstance(value, str):
        for found in (*_EXPRESSION.finditer(value), *_STATEMENT.finditer(value)):
            yield where, found[0]
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from templates_in(one, where)
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            if one.name not in _ANY_TEXT:
                yield from templates_in(getattr(value, one.name), f"{where}.{one.name}")
