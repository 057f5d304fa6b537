"""What a server counts, for Prometheus. No label holds anything that a user wrote."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SENTENCES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server, in a registry of their own."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("polystill_requests", "Answers.", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "polystill_request_seconds", "Time to answer.", ["path"], buckets=_SECONDS, registry=registry
        )
        self.active = Gauge("polystill_active_translations", "Requests being translated.", registry=registry)
        self.sentences = Counter("polystill_sentences", "Sentences translated.", ["model"], registry=registry)
        self.characters = Counter("polystill_characters", "Characters translated.", ["model"], registry=registry)
        self.batches = Histogram(
            "polystill_batch_sentences", "Sentences of a batch.", ["model"], buckets=_SENTENCES, registry=registry
        )
        self._waiting = Gauge("polystill_waiting_sentences", "Not taken yet.", ["model"], registry=registry)

    def watch_queue(self, model: str, waiting: Callable[[], float]) -> None:
        """Show how many sentences a model's queue holds."""
        self._waiting.labels(model).set_function(waiting)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
