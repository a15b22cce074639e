"""What /metrics tells, in Prometheus's text form; kept in this process and sent nowhere."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from codebyte.apps.session import Items
from codebyte.tasks.completion import Completion, Piece

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 1.0, 2.5, 10.0, 30.0)


class Metrics:
    """The counters of one server.

    Args:
        inside: tells how many requests are under way.
        caches: tells how many prompts are remembered.
    """

    def __init__(self, inside: Callable[[], int], caches: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "codebyte_requests",
            "Requests by route and by how they ended: done, cancelled, failed or refused",
            ["route", "outcome"],
            registry=self.registry,
        )
        self.first_byte = Histogram(
            "codebyte_first_byte_seconds",
            "From a request to the first byte of its completion",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.whole = Histogram(
            "codebyte_request_seconds",
            "From a request to its end",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.count = Counter(
            "codebyte_bytes",
            "Bytes read (of which cached were known already) and written",
            ["kind"],
            registry=self.registry,
        )
        for name, about, value in (
            ("codebyte_requests_inside", "Requests under way", inside),
            ("codebyte_prompt_caches", "Prompts remembered", caches),
        ):
            Gauge(name, about, registry=self.registry).set_function(value)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)


@dataclass(slots=True)
class Meter:
    """Follows one request."""

    metrics: Metrics
    route: str
    outcome: str = "done"
    began: float = field(default_factory=time.perf_counter)

    def follow(self, items: Items, read: int) -> Generator[Piece | Completion, None, Any]:
        """Passes the items of a completion on, and counts them.

        Args:
            items: pieces, and last the completion.
            read: bytes of the prompt.
        """
        waiting = True
        try:
            for item in items:
                if isinstance(item, Completion):
                    self.metrics.count.labels("cached").inc(item.cached)
                elif item.text:
                    if waiting:
                        waiting = False
                        seconds = time.perf_counter() - self.began
                        self.metrics.first_byte.labels(self.route).observe(seconds)
                    self.metrics.count.labels("written").inc(len(item.text))
                yield item
        finally:
            items.close()
            self.metrics.count.labels("read").inc(read)

    def end(self) -> None:
        """To be called once, at the end of the request."""
        self.metrics.requests.labels(self.route, self.outcome).inc()
        self.metrics.whole.labels(self.route).observe(time.perf_counter() - self.began)
