"""What the operators of one stream share: which errors are worth a retry, and the messages around them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.sdk import BaseOperator, ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowSkipException

from airflow_reindex_provider.core.errors import ConfigurationError, GenerationGoneError
from airflow_reindex_provider.core.model import Batch, Mode
from airflow_reindex_provider.core.planning import is_superseded
from airflow_reindex_provider.core.protocols import TargetSession
from airflow_reindex_provider.stream import Stream

log = logging.getLogger(__name__)

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=ConfigurationError,
            action=RetryAction.FAIL,
            reason="a retry cannot mend the stream's definition, a grant or the data",
        )
    ]
)
DEFAULT_RETRIES = 3


class StreamOperator(BaseOperator):
    """A task of a stream. Retries three times by default, but not when a person has to act first."""

    def __init__(self, *, stream: Stream, **kwargs: Any) -> None:
        kwargs.setdefault("retries", DEFAULT_RETRIES)
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        kwargs["inlets"] = [*(kwargs.get("inlets") or []), *stream.checkpoint_assets]
        super().__init__(**kwargs)
        self.stream = stream

    def stream_of(self, group: str | None) -> Stream:
        """The stream of one group; None is for a stream without groups."""
        return self.stream if group is None else self.stream.of_group(group)


@contextmanager
def skipped_if_superseded(batch: Batch, target: TargetSession) -> Iterator[None]:
    """A batch that finds its generation dropped by a rebuild ends as skipped: another try could not do what it was planned
    for, and nothing is left of it to do. That of a rebuild whose own generation is gone fails."""
    try:
        yield
    except GenerationGoneError as error:
        if batch.mode is Mode.REBUILD or not is_superseded(target, batch.generation):
            raise
        log.warning(
            "%s A rebuild has put another one in its place, so nothing is lost: the next run reads on from the checkpoint of"
            " the live one.",
            error,
        )
        raise AirflowSkipException("Another generation is live by now.") from error
