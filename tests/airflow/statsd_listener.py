"""A StatsD server that keeps what it is sent."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from typing import Self

from airflow_reindex_provider.core.metrics import COMMON_TAGS, METRICS, Kind

_KINDS = {"c": Kind.COUNTER, "g": Kind.GAUGE, "ms": Kind.TIMER}
_TABLE = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True)
class Sample:
    name: str
    tags: dict[str, str]
    value: float
    kind: str
    """``c``, ``g`` or ``ms``."""

    def require_of_the_table(self) -> None:
        """A name of ours, of its kind, with its tags alone, none of which is a key."""
        metric = _TABLE[self.name]
        assert _KINDS[self.kind] is metric.kind
        assert self.tags.keys() == {*COMMON_TAGS, *metric.tags}

    @property
    def told(self) -> tuple[str, ...]:
        """The values of the tags that not every metric has, and the value."""
        more = (value for tag, value in self.tags.items() if tag not in COMMON_TAGS)
        return (*more, f"{self.value:g}")


class StatsdListener:
    """On UDP and loopback, as a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._samples: list[Sample] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def of_stream(self, stream: str) -> list[Sample]:
        """What was sent of the stream, in the order in which it came."""
        return [sample for sample in list(self._samples) if sample.tags.get("stream") == stream]

    def _listen(self) -> None:
        while True:
            try:
                lines = self._socket.recv(65536).decode().splitlines()
            except OSError:
                return
            self._samples += [_sample(line) for line in lines]


def _sample(line: str) -> Sample:
    """Of ``prefix.name,tag=value:1|c``."""
    head, _, rest = line.rpartition(":")
    value, kind = rest.split("|")[:2]
    name, *tags = head.split(",")
    return Sample(
        name.removeprefix("airflow."), dict(tag.split("=", 1) for tag in tags if "=" in tag), float(value), kind
    )
