"""What every target refuses, in the same words."""

from __future__ import annotations

from airflow_reindex_provider.core.errors import ConfigurationError, GenerationGoneError


def gone(label: str, generation: str) -> GenerationGoneError:
    return GenerationGoneError(
        f"{label}: generation {generation!r} is gone. Start the run anew, so that it plans for the live generation."
    )


def still_live(label: str, generation: str) -> ConfigurationError:
    """Of a generation that is to be dropped."""
    return ConfigurationError(
        f"{label}: generation {generation!r} is the live one and is not dropped. Promote another one first."
    )


def require_ours(label: str, stream: str, owner: str | None) -> None:
    """:param owner: None where nobody has made the index yet.
    :raises ConfigurationError: it is another stream's."""
    if owner not in (None, stream):
        raise ConfigurationError(
            f"{label}: it belongs to stream {owner!r}. It is left alone: give stream {stream!r} another index name."
        )
