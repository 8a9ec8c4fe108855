"""What triggers share that ask a source: how one travels to the triggerer, and how it is made there."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from airflow.triggers.base import BaseTrigger


class SourceTrigger(BaseTrigger):
    """:param source_class: dotted path. :param source: what its ``deserialize`` takes.
    :param poll_interval_s: between two looks."""

    def __init__(self, *, source_class: str, source: dict[str, Any], poll_interval_s: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        self.source_class = source_class
        self.source = source
        self.poll_interval_s = poll_interval_s

    def arguments(self) -> dict[str, Any]:
        """That make an equal trigger again."""
        return {
            "source_class": self.source_class,
            "source": self.source,
            "poll_interval_s": self.poll_interval_s,
        }

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", self.arguments()

    def made_source(self) -> Any:
        module, _, name = self.source_class.rpartition(".")
        return getattr(import_module(module), name).deserialize(self.source)
