"""What Palaver's processes tell Prometheus: the table of metrics, plain counts, and the page of them."""

from palaver.shared.metrics.catalogue import EXPORTER, GATEWAY, WORKER, Kind, Metric
from palaver.shared.metrics.counting import (
    OTHER,
    SEALED,
    Histogram,
    Names,
    ProfileNames,
    Sample,
    Spread,
    Tally,
)
from palaver.shared.metrics.page import Family, Page, metrics_page
from palaver.shared.metrics.server import MetricsServer
from palaver.shared.metrics_address import MetricsAddress

__all__ = [
    "EXPORTER",
    "GATEWAY",
    "OTHER",
    "SEALED",
    "WORKER",
    "Family",
    "Histogram",
    "Kind",
    "Metric",
    "MetricsAddress",
    "MetricsServer",
    "Names",
    "Page",
    "ProfileNames",
    "Sample",
    "Spread",
    "Tally",
    "metrics_page",
]
