"""Every metric of Palaver's own, in three tables: of a worker's process, of a gateway's, and of the whole
system as the exporter sees it. Names follow Prometheus' conventions; no label holds a session, a job, a user
or content.

`python -m palaver.shared.metrics.table` writes them as deploy/METRICS.md.
"""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["EXPORTER", "GATEWAY", "WORKER", "Kind", "Metric"]

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. `labels` in the order in which their values are given; a histogram's `buckets`, ascending."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_WAITS: Final = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
_ANSWERS: Final = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 60, 180, 600)
_LAGS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_SPEEDS: Final = (1, 5, 10, 20, 40, 60, 80, 100, 150, 250, 500, 1000)

# Of a worker's process

INFO: Final = Metric("palaver_worker_info", "gauge", "1; who this is.", ("worker", "version"))
READY: Final = Metric("palaver_ready", "gauge", "1: /readyz says yes.")
NOT_READY: Final = Metric("palaver_not_ready", "gauge", "1 for each reason why not.", ("reason",))
LIVE: Final = Metric(
    "palaver_live_streams", "gauge", "Jobs that run here; no profile: none was asked yet.", ("profile",)
)
SLOTS: Final = Metric("palaver_slots", "gauge", "Jobs that it runs at once at most.")
ATTEMPTS: Final = Metric("palaver_attempts_total", "counter", "Jobs that were claimed.", ("queue",))
TAKEOVERS: Final = Metric(
    "palaver_takeovers_total", "counter", "Leases that had run out, whose jobs a sweep here gave to others."
)
QUEUE_WAIT: Final = Metric(
    "palaver_queue_wait_seconds", "histogram", "From a job's message to its claim.", ("queue",), _WAITS
)
JOBS: Final = Metric(
    "palaver_jobs_total",
    "counter",
    "Ends of attempts: completed, failed, refused (failed for what was asked), cancelled, expired, parked, "
    "released (handed over), lost; with the error's code of what failed.",
    ("outcome", "code"),
)
REQUESTS: Final = Metric("palaver_requests_total", "counter", "Requests to providers.", ("profile", "model"))
ERRORS: Final = Metric(
    "palaver_provider_errors_total",
    "counter",
    "Requests that failed, by code; without those that failed for what was asked.",
    ("profile", "code"),
)
REFUSED: Final = Metric(
    "palaver_refused_requests_total",
    "counter",
    "Requests that a provider refused for what was asked (not valid, filtered, no such model), by code.",
    ("profile", "code"),
)
RETRIES: Final = Metric(
    "palaver_retries_total", "counter", "Jobs that went on after a provider's failure.", ("profile",)
)
FIRST_TOKEN: Final = Metric(
    "palaver_time_to_first_token_seconds",
    "histogram",
    "From a request to the first text, thought or tool call.",
    ("profile",),
    _ANSWERS,
)
REQUEST: Final = Metric("palaver_request_seconds", "histogram", "Whole requests.", ("profile",), _ANSWERS)
SPEED: Final = Metric(
    "palaver_output_tokens_per_second",
    "histogram",
    "Of one request whose tokens its provider counts, from the first to the end.",
    ("profile",),
    _SPEEDS,
)
TOKENS: Final = Metric(
    "palaver_tokens_total",
    "counter",
    "Tokens used, input and output; estimated where a provider does not count.",
    ("profile", "model", "type"),
)
COST: Final = Metric(
    "palaver_cost_dollars_total", "counter", "What they cost, where prices are known.", ("profile", "model")
)
GATE_WAIT: Final = Metric(
    "palaver_gate_wait_seconds", "histogram", "Waited here for a place at a gate.", ("profile",), _WAITS
)
GATE_PARKED: Final = Metric(
    "palaver_gate_parked_total", "counter", "Jobs that wait for one in the ledger.", ("profile",)
)
BREAKER: Final = Metric(
    "palaver_breaker_state", "gauge", "1 for the state that it is in.", ("profile", "state")
)
SWEEPS: Final = Metric("palaver_sweeps_total", "counter", "Sweeps of this worker: done, failed.", ("result",))
SWEPT: Final = Metric(
    "palaver_swept_jobs_total", "counter", "Jobs that they looked at, sent or ended.", ("action",)
)
LEASES: Final = Metric("palaver_leases", "gauge", "Leases that are held.")
RENEWALS: Final = Metric(
    "palaver_lease_renewals_total",
    "counter",
    "Leases renewed; late: confirmed when it had run out already; lost: it is another's; failed: Redis "
    "refused. The end of a job is none of these.",
    ("result",),
)
LAG: Final = Metric(
    "palaver_publish_lag_seconds",
    "histogram",
    "Append to reader, every 5 seconds: how old the oldest word of a batch is when a subscriber has it.",
    (),
    _LAGS,
)
BATCHES: Final = Metric("palaver_publish_batches_total", "counter", "Writes of what streams said.")
APPENDS: Final = Metric("palaver_publish_appends_total", "counter", "Streams in them.")
LOOP_LAG: Final = Metric(
    "palaver_loop_lag_seconds", "gauge", "How late the stream loop's worst beat of the last minute was."
)

WORKER: Final = (
    *(INFO, READY, NOT_READY, LIVE, SLOTS, ATTEMPTS, TAKEOVERS, QUEUE_WAIT, JOBS),
    *(REQUESTS, ERRORS, REFUSED, RETRIES, FIRST_TOKEN, REQUEST, SPEED, TOKENS, COST),
    *(GATE_WAIT, GATE_PARKED, BREAKER, SWEEPS, SWEPT, LEASES, RENEWALS, LAG, BATCHES, APPENDS, LOOP_LAG),
)

# Of a gateway's process

HTTP_REQUESTS: Final = Metric(
    "palaver_gateway_requests_total",
    "counter",
    "Requests, by route and the status that their answer began with; no route: for want of room, or no HTTP; "
    "`unrouted`: no path of ours, another method, a body of too great a length.",
    ("route", "status"),
)
HTTP_SECONDS: Final = Metric(
    "palaver_gateway_request_seconds",
    "histogram",
    "Until an answer began; that of a stream begins with its first words.",
    ("route",),
    _ANSWERS,
)
HTTP_STREAMS: Final = Metric("palaver_gateway_streams", "gauge", "Streams that are being told.")
HTTP_FEEDS: Final = Metric("palaver_gateway_feeds", "gauge", "Sessions that somebody follows here.")
HTTP_UNWATCHED: Final = Metric(
    "palaver_gateway_watch_failures_total",
    "counter",
    "Failed looks at who may read his streams no more; while it lasts, one or more every 5 seconds.",
)

GATEWAY: Final = (HTTP_REQUESTS, HTTP_SECONDS, HTTP_STREAMS, HTTP_FEEDS, HTTP_UNWATCHED)

# Of the whole system

UP: Final = Metric(
    "palaver_up",
    "gauge",
    "1: it answered this scrape, and the ledger takes writes; what it refuses beside has no values.",
    ("service",),
)
QUEUE_MESSAGES: Final = Metric(
    "palaver_queue_messages", "gauge", "Messages that wait in the broker.", ("queue",)
)
QUEUE_AGE: Final = Metric(
    "palaver_queue_oldest_age_seconds",
    "gauge",
    "Of the job that has waited longest for a worker; 0: none waits.",
    ("queue",),
)
CANARY_AGE: Final = Metric(
    "palaver_queue_canary_age_seconds",
    "gauge",
    "How long a canary waits that no worker has taken; 0: the last was taken.",
    ("queue",),
)
CANARY_WAIT: Final = Metric(
    "palaver_queue_canary_wait_seconds", "gauge", "How long the last canary had waited.", ("queue",)
)
STALLED: Final = Metric(
    "palaver_queue_stalled",
    "gauge",
    "1: its canary waits although there is room, and none takes from it, or from one with a line before it.",
    ("queue",),
)
UNENDED: Final = Metric("palaver_jobs_unended", "gauge", "Jobs that have not ended.")
TENANT_JOBS: Final = Metric(
    "palaver_tenant_jobs",
    "gauge",
    "Jobs that have not ended (waiting, parked, running) of 20 tenants with many, the others are `other`; of "
    "more than 1,000 an estimate.",
    ("tenant", "queue", "state"),
)
TENANT_AGE: Final = Metric(
    "palaver_tenant_oldest_age_seconds",
    "gauge",
    "Of the tenant's job that has waited longest.",
    ("tenant", "queue"),
)
GATE_WAITING: Final = Metric(
    "palaver_gate_waiting",
    "gauge",
    "Requests that wait at the gate of a profile; all that are served are told.",
    ("profile",),
)
GATE_RUNNING: Final = Metric("palaver_gate_running", "gauge", "Requests that have a place.", ("profile",))
GATE_CLOSED: Final = Metric(
    "palaver_gate_closed_seconds", "gauge", "Closed for so long still; 0: open.", ("profile",)
)
GATE_PAUSED: Final = Metric(
    "palaver_gate_paused", "gauge", "1: an operator has paused the profile.", ("profile",)
)
WORKERS: Final = Metric("palaver_workers", "gauge", "Workers: live, draining.", ("state",))
WORKER_SLOTS: Final = Metric("palaver_worker_slots", "gauge", "Slots of a worker.", ("worker",))
WORKER_STREAMS: Final = Metric("palaver_worker_streams", "gauge", "Jobs that it runs.", ("worker",))
SWEEP_AGE: Final = Metric(
    "palaver_last_sweep_age_seconds", "gauge", "Since a sweep of any worker was completed."
)
LEASE: Final = Metric(
    "palaver_lease_seconds", "gauge", "PALAVER_LEASE_SECONDS: what is late is so by 1.5 of it."
)
DEAD: Final = Metric("palaver_dead_letters", "gauge", "Jobs that failed or expired and are kept.")
OPEN_BATCHES: Final = Metric("palaver_batches_open", "gauge", "Batches that have not ended.")
BATCH_LINES: Final = Metric(
    "palaver_batch_lines", "gauge", "Lines of open batches without a result: waiting, running.", ("state",)
)
MEMORY: Final = Metric("palaver_ledger_memory_bytes", "gauge", "That the ledger's Redis uses.")
MEMORY_LIMIT: Final = Metric(
    "palaver_ledger_memory_limit_bytes",
    "gauge",
    "That it may use at most: its maxmemory; where it has none, all memory of its machine.",
)
HEALTHY: Final = Metric("palaver_healthy", "gauge", "1: what palaver status --quick calls healthy.")

EXPORTER: Final = (
    *(UP, QUEUE_MESSAGES, QUEUE_AGE, CANARY_AGE, CANARY_WAIT, STALLED, UNENDED, TENANT_JOBS, TENANT_AGE),
    *(GATE_WAITING, GATE_RUNNING, GATE_CLOSED, GATE_PAUSED),
    *(WORKERS, WORKER_SLOTS, WORKER_STREAMS, SWEEP_AGE, LEASE),
    *(DEAD, OPEN_BATCHES, BATCH_LINES, MEMORY, MEMORY_LIMIT, HEALTHY),
)
