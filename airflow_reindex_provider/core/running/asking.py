"""Where the vectors of texts come from that no index has: a cache, if the stream has one, else the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from airflow_reindex_provider.core.embedding.cache import VectorCacheSession
from airflow_reindex_provider.core.embedding.embed import Embed
from airflow_reindex_provider.core.embedding.embedder import Vector
from airflow_reindex_provider.core.embedding.requests import Outcome, Requests
from airflow_reindex_provider.core.model import PassageCounts
from airflow_reindex_provider.core.observing import Observer, Traffic


@dataclass(frozen=True, slots=True)
class Asked:
    """:ivar kept: vectors that the cache had. :ivar texts: by hash, those that the model is asked for.
    :ivar future: what comes of these, in their order."""

    kept: Mapping[bytes, Vector]
    texts: Mapping[bytes, str]
    future: Future[Sequence[Outcome]]

    def outcomes(self) -> Mapping[bytes, Outcome]:
        """Of all of them. Waits for the model."""
        outcomes = dict(zip(self.texts, self.future.result(), strict=True))
        return {**self.kept, **outcomes} if self.kept else outcomes


class Asking(AbstractContextManager["Asking"]):
    """A context; what the model was asked for and has not answered at its end is given up. Model and cache are opened when they
    are needed, the cache first. Several threads may ask, one after the other."""

    def __init__(self, embed: Embed, observer: Observer) -> None:
        self._embed = embed
        self._observer = observer
        self._hashed = embed.model.identity.hasher()
        self._stack = ExitStack()
        self._cache: VectorCacheSession | None = None
        self._requests: Requests | None = None

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def spent(self) -> PassageCounts:
        """What the model was asked for, whatever has become of the answer."""
        asked = self._requests
        if asked is None:
            return PassageCounts()
        return PassageCounts(embedded=asked.answered, requests=asked.requests, tokens=asked.tokens)

    @property
    def traffic(self) -> Traffic:
        """How often, and how long, the model has sent requests away."""
        return Traffic() if self._requests is None else self._requests.meter.traffic

    def cached(self, hashes: Collection[bytes]) -> Collection[bytes]:
        """Those that the model need not be asked for."""
        cache = self._opened_cache() if hashes else None
        return () if cache is None else cache.having(hashes)

    def ask(self, texts: Mapping[bytes, str]) -> Asked:
        """:param texts: by their hashes. Does not wait for the model."""
        cache = self._opened_cache() if texts else None
        kept = {} if cache is None else cache.find(texts)
        lacking = {hash: text for hash, text in texts.items() if hash not in kept} if kept else texts
        if not lacking:
            nothing: Future[Sequence[Outcome]] = Future()
            nothing.set_result(())
            return Asked(kept, lacking, nothing)
        if self._requests is None:
            session = self._stack.enter_context(self._embed.model.open())
            self._requests = self._stack.enter_context(
                Requests(
                    self._embed.model,
                    session,
                    concurrency=self._embed.concurrency,
                    observer=self._observer,
                    keep=self._keep,
                )
            )
        return Asked(kept, lacking, self._requests.submit(list(lacking.values())))

    def _opened_cache(self) -> VectorCacheSession | None:
        if self._cache is None and self._embed.cache is not None:
            self._cache = self._stack.enter_context(self._embed.cache.open())
        return self._cache

    def _keep(self, texts: Sequence[str], found: Sequence[Vector | str]) -> None:
        if self._cache is not None:
            pairs = zip(texts, found, strict=True)
            self._cache.keep({self._hashed(text): vector for text, vector in pairs if not isinstance(vector, str)})
