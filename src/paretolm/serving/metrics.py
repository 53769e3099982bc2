"""What the server counts, in Prometheus' own words."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Of one server."""

    def __init__(self, model: str, fingerprint: str) -> None:
        self._registry = registry = CollectorRegistry()
        info = Gauge("paretolm_info", "The model and its recipe.", ["model", "recipe"], registry=registry)
        info.labels(model, fingerprint).set(1)
        self.requests = Counter("paretolm_requests", "Requests answered.", ["path", "status"], registry=registry)
        self.prompt_tokens = Counter("paretolm_prompt_tokens", "Tokens of prompts read.", registry=registry)
        self.new_tokens = Counter("paretolm_generation_tokens", "Tokens written.", registry=registry)
        self.cancelled = Counter(
            "paretolm_cancelled", "Requests given up: nobody waited, or too long.", registry=registry
        )
        self.running = Gauge("paretolm_requests_running", "Requests being written.", registry=registry)
        self.waiting = Gauge("paretolm_requests_waiting", "Requests waiting for their turn.", registry=registry)
        self.first = Histogram(
            "paretolm_time_to_first_piece_seconds", "Until the first text.", registry=registry, buckets=_SECONDS
        )
        self.whole = Histogram(
            "paretolm_request_seconds", "Of requests that were answered.", registry=registry, buckets=_SECONDS
        )

    def text(self) -> bytes:
        return generate_latest(self._registry)
