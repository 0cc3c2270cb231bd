"""Metrics in the Prometheus format: what is counted as it happens, and what is looked up when it is asked for."""

import os
from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["REPORTS", "Figure", "Metrics"]

REPORTS = Counter("liuzhang_reports", "Reports handled, by what became of them", ["outcome"], registry=None)
"""Of the process, like all that is counted where no application is at hand; ``accepted``, or the code of a refusal."""


class Figure(NamedTuple):
    """A gauge that is looked up when it is asked for: its values by those of its labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: dict[tuple[str, ...], float]


class Metrics:
    """The metrics of one application, in a registry of its own.

    Where several processes serve, they count into files of one directory, and each answers for all of them: the
    library does so by itself where ``PROMETHEUS_MULTIPROC_DIR`` was set before it was imported.
    """

    def __init__(self) -> None:
        """Register the metrics."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(REPORTS)
        labels = ["method", "operation", "status"]
        self.requests = Counter("liuzhang_requests", "Requests answered", labels, registry=self.registry)
        self.duration = Histogram(
            "liuzhang_request_seconds", "Time to answer", ["method", "operation"], registry=self.registry
        )

    def exposition(self, figures: Iterable[Figure]) -> tuple[bytes, str]:
        """The metrics, and ``figures``, in the Prometheus text format, and its media type."""
        counted = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            counted = CollectorRegistry()
            MultiProcessCollector(counted)
        looked_up = CollectorRegistry()
        looked_up.register(_LookedUp(figures))
        return generate_latest(counted) + generate_latest(looked_up), CONTENT_TYPE_LATEST


class _LookedUp:
    """Figures as the library collects them."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        for figure in self._figures:
            family = GaugeMetricFamily(figure.name, figure.help, labels=figure.labels)
            for labels, value in figure.values.items():
                family.add_metric(labels, value)
            yield family
