"""What every target refuses, in the same words."""

from __future__ import annotations

from importlib import import_module

from airflow_reindex_provider.core.errors import ConfigurationError, GenerationGoneError


def gone(label: str, generation: str) -> GenerationGoneError:
    return GenerationGoneError(
        f"{label}: generation {generation!r} is gone. Start the run anew, so that it plans for the live generation."
    )


def unknown_connection(label: str, conn_id: str, add: str = "one", hint: str = "") -> ConfigurationError:
    """:param add: what is to be added. :param hint: how it is to be."""
    return ConfigurationError(
        f"Target {label} uses the connection {conn_id!r}, which does not exist: add {add} with this id (Admin > Connections,"
        f" `airflow connections add {conn_id}`, or AIRFLOW_CONN_{conn_id.upper()}){hint}."
    )


def require_modules(label: str, extra: str, *names: str) -> None:
    """:param extra: of this package: what brings the modules. :raises ConfigurationError: they are not installed."""
    try:
        for name in names:
            import_module(name)
    except ModuleNotFoundError as error:
        raise not_installed(label, extra, error) from error


def not_installed(label: str, extra: str, error: ModuleNotFoundError) -> ConfigurationError:
    return ConfigurationError(
        f"{label}: the Python module {error.name} is not installed on this worker:"
        f" pip install 'airflow-reindex-provider[{extra}]'."
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
