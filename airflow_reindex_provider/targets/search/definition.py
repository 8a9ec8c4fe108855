"""What an index of a search engine is said to be, in a Dag file: arguments, their checks, and the names made of them."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, ClassVar

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.core.model import Format, Guarantee
from airflow_reindex_provider.targets.public_name import NamedIndex, PublicName

MAX_NAME_BYTES = 255 - len("_write")
_NAME = re.compile(r"[^A-Z\\/*?\"<>|\s,#:]+")


@dataclass(frozen=True, slots=True)
class SearchDefinition(NamedIndex):
    """The part of a :class:`SearchTarget` that its open session knows."""

    _: KW_ONLY
    mappings: Mapping[str, Any] | str | Path | None = None
    settings: Mapping[str, Any] | str | Path | None = None
    nested: tuple[str, ...] = ()
    compress: bool | None = None
    timeout_s: float = 60.0

    guarantee: ClassVar[Guarantee] = Guarantee.VERSIONED
    formats: ClassVar[tuple[Format, ...]] = (Format.BULK, Format.ROWS)
    engine_name: ClassVar[str]
    extra: ClassVar[str]
    """Of this package: what brings the client."""
    privileges: ClassVar[str]
    """What the connection's user needs, with ``{names}`` for the index names."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "nested", tuple(self.nested))
        # A dataclass with slots is another class than the one that super() knows.
        NamedIndex.__post_init__(self)

    def require_name(self) -> None:
        if not _NAME.fullmatch(self.index) or self.index != self.index.lower() or self.index[0] in "-_+.":
            raise ConfigurationError(
                f'{self.label}: {self.engine_name} takes names in lower case, without spaces and any of \\ / * ? " < > | , # :,'
                " and not with one of - _ + . in front."
            )

    @property
    def public_name(self) -> PublicName:
        return PublicName(self.index, MAX_NAME_BYTES)

    @staticmethod
    @abstractmethod
    def passage_vector(dims: int) -> Mapping[str, Any]:
        """The field for the vector of a passage, which is near to another one by the cosine of their angle."""

    @staticmethod
    @abstractmethod
    def vector_field(dims: int) -> Mapping[str, Any]:
        """The field for a vector of so many dimensions."""

    def given_mappings(self) -> dict[str, Any]:
        return self._given("mappings", self.mappings)

    def given_settings(self) -> dict[str, Any]:
        """The author's settings by their full names, ``index.`` in front."""
        flat: dict[str, Any] = {}

        def walk(prefix: str, value: Mapping[str, Any]) -> None:
            for name, inner in value.items():
                if isinstance(inner, Mapping):
                    walk(f"{prefix}{name}.", inner)
                else:
                    flat[f"{prefix}{name}"] = inner

        walk("", self._given("settings", self.settings))
        return {name if name.startswith("index.") else f"index.{name}": value for name, value in flat.items()}

    def _given(self, what: str, value: Mapping[str, Any] | str | Path | None) -> dict[str, Any]:
        if value is None or isinstance(value, Mapping):
            return dict(value or {})
        try:
            read = json.loads(Path(value).read_text())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{self.label}: {what}={str(value)!r} is no JSON file to read: {error}") from error
        if not isinstance(read, dict):
            raise ConfigurationError(f"{self.label}: {what}={str(value)!r} does not hold a JSON object.")
        return read
