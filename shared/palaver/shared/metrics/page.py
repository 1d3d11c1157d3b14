"""Counts as a page in Prometheus' text format, by prometheus-client; it is loaded by the first page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palaver.shared.errors import ConfigurationError
from palaver.shared.metrics.catalogue import Metric
from palaver.shared.metrics.counting import Sample, Spread

if TYPE_CHECKING:  # the extra [metrics]
    from prometheus_client.metrics_core import Metric as Shown

__all__ = ["Family", "Page", "metrics_page"]

Family = tuple[Metric, Iterable[Sample]]
"""A metric and its values now; one without values is shown by its name alone."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a path answers."""

    body: bytes
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"


def metrics_page(families: Callable[[], Iterable[Family]]) -> Callable[[], Page]:
    """What /metrics answers: these families, and what prometheus-client knows of the process itself.

    ConfigurationError where prometheus-client is not installed.
    """
    try:
        import prometheus_client as prometheus
    except ImportError:
        raise ConfigurationError("metrics need prometheus-client: pip install 'palaver[metrics]'") from None
    registry = prometheus.CollectorRegistry(auto_describe=False)
    prometheus.ProcessCollector(registry=registry)
    prometheus.PlatformCollector(registry=registry)
    prometheus.GCCollector(registry=registry)
    registry.register(_Collector(families))

    def page() -> Page:
        return Page(prometheus.generate_latest(registry), content_type=prometheus.CONTENT_TYPE_LATEST)

    return page


class _Collector:
    """prometheus-client asks it at each page."""

    def __init__(self, families: Callable[[], Iterable[Family]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Shown]:
        for metric, samples in self._families():
            shown = _empty(metric)
            for labels, value in samples:
                if isinstance(value, Spread):
                    shown.add_metric(labels, _buckets(metric, value), value.total)
                else:
                    shown.add_metric(labels, value)
            yield shown


def _empty(metric: Metric) -> Any:
    from prometheus_client import core

    kinds = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }
    return kinds[metric.kind](metric.name, metric.help, labels=metric.labels)


def _buckets(metric: Metric, spread: Spread) -> list[tuple[str, int]]:
    """Cumulative, as the format has them."""
    bounds = [*(repr(float(bound)) for bound in metric.buckets), "+Inf"]
    total, found = 0, []
    for bound, count in zip(bounds, spread.counts, strict=True):
        total += count
        found.append((bound, total))
    return found
