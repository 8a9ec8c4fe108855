"""What surrounds every command: Airflow's own wrappings, and the codes that it ends with."""

from __future__ import annotations

import functools
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from airflow.utils.cli import action_cli, suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from airflow_reindex_provider.cli.ending import INTERRUPTED, Ending, code_of, tell
from airflow_reindex_provider.core.errors import ReindexError

Command = Callable[..., None]


def showing(command: Command) -> Command:
    """A command that changes nothing: quiet but for its own words, and errors of ours end it with the code of their kind."""

    @functools.wraps(command)
    def wrapped(args: Namespace, **kwargs: Any) -> None:
        try:
            command(args, **kwargs)
        except (Ending, ReindexError) as error:
            tell(str(error))
            raise SystemExit(code_of(error)) from None
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None

    return suppress_logs_and_warning(providers_configuration_loaded(wrapped))


def acting(command: Command) -> Command:
    """One that changes something: Airflow's audit log has it too."""
    logged: Command = action_cli(command)  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
    return showing(logged)
