"""The metrics as a page for people, made of the catalogue: `python -m palaver.shared.metrics.table`."""

import sys
from collections.abc import Iterable
from typing import Final

from palaver.shared.metrics.catalogue import EXPORTER, GATEWAY, WORKER, Metric

HEAD: Final = """\
# Metrics

What Palaver's processes tell Prometheus, beside what its client library knows of any process (`process_*`,
`python_*`). No label holds a session, a job, a user or content. The first 100 profiles and models are told
apart in labels, the others are `other`; all sealed profiles are `sealed`. `make schema` writes this page.

"""
WORKER_HEAD: Final = """\
## A worker

`PALAVER_METRICS_ADDRESS=9464` has it serve `/metrics` and, for whoever watches over processes, `/startupz`
(it has begun to take jobs), `/healthz` (its loop turns, and a Redis that greets it answers it too) and
`/readyz` (it does its work: it asks for messages while it has room, its leases are renewed, somebody sweeps).
Of several workers on one machine the first gets that port, each further one the next that is free; which, it
announces.

"""
GATEWAY_HEAD: Final = """
## A gateway

It serves `/metrics`, `/healthz` and `/readyz` on its own port and asks for no API key there: keep it inside.

"""
EXPORTER_HEAD: Final = """
## The exporter

`palaver exporter` asks the ledger and the broker when it is asked itself: it needs no worker to run. One of
them serves a system.

"""
COLUMNS: Final = "| metric | type | labels | what it is |\n|---|---|---|---|\n"


def metrics_table() -> str:
    """The page, in Markdown."""
    tables = ((WORKER_HEAD, WORKER), (GATEWAY_HEAD, GATEWAY), (EXPORTER_HEAD, EXPORTER))
    return HEAD + "".join(head + _rows(metrics) for head, metrics in tables)


def _rows(metrics: Iterable[Metric]) -> str:
    return COLUMNS + "".join(
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} "
        f"| {metric.help} |\n"
        for metric in metrics
    )


if __name__ == "__main__":
    sys.stdout.write(metrics_table())
