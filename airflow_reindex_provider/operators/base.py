"""What the operators of one stream share: which errors are worth a retry, and the messages around them."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, ExceptionRetryPolicy, RetryAction, RetryRule

from airflow_reindex_provider.core.errors import ConfigurationError
from airflow_reindex_provider.stream import Stream

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
