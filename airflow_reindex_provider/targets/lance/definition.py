"""What a LanceDB index is to be: its public name, the types of its columns and its indexes. Data, without a session."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.targets.public_name import GROUP, NamedIndex, PublicName

TOKEN_LENGTH = len("_0a1b2c3d")
"""What the table of a generation has behind the generation's name."""
MAX_NAME_BYTES = 255 - len(".lance") - TOKEN_LENGTH
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class LanceDefinition(NamedIndex):
    """The fields of a :class:`~airflow_reindex_provider.targets.lance.target.LanceTarget`, which documents them."""

    _: KW_ONLY
    columns: Mapping[str, str] = field(default_factory=dict)
    indexes: Mapping[str, str] = field(default_factory=dict)

    def require_name(self) -> None:
        if not _NAME.fullmatch(self.index.replace(GROUP, "group")):
            raise ConfigurationError(
                f"{self.label}: the name of a LanceDB table has letters, digits, underscores, dots and dashes alone."
            )

    @property
    def public_name(self) -> PublicName:
        return PublicName(self.index, MAX_NAME_BYTES)
