"""What `palaver exporter` tells Prometheus, with no worker alive: a scaler is to see jobs that wait."""

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families as parsed

from palaver.producer import Client
from palaver.producer.cli.exporter import pages
from palaver.producer.cli.system import System
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Claimed, SyncLedger, operations, sighting
from palaver.shared.metrics import EXPORTER
from palaver.shared.profiles import Limits
from palaver.shared.settings import Settings
from tests.integration.ledger.batch_world import BatchWorld
from tests.integration.ledger.world import World
from tests.processes import Processes, signal_beside
from tests.servers import RedisServer, free_port

pytestmark = pytest.mark.redis


def fetched(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address + path, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in parsed(text) if family.name.startswith("palaver_")}


def values(system: System, name: str) -> dict[tuple[str, ...], float]:
    """Label values, in the order of the table, to value."""
    text = pages(system)["/metrics"]().body.decode()
    (metric,) = (metric for metric in EXPORTER if metric.name == name)
    samples = families(text)[name].samples
    return {tuple(sample.labels[label] for label in metric.labels): sample.value for sample in samples}


@pytest.fixture
def settings(redis_url: str, namespace: str) -> Settings:
    return Settings(redis_url=redis_url, namespace=namespace)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[SyncLedger]:
    with SyncLedger(settings) as ledger:
        yield ledger


@pytest.fixture
def system(settings: Settings) -> Iterator[System]:
    system = System(settings)
    yield system
    system.close()


def submit(ledger: SyncLedger, session: str, *, tenant: str = "", **fields: object) -> ChatJob:
    job = ChatJob.model_validate(
        {"messages": "xyzzy-42", "session_id": session, "tenant": tenant or None, **fields}
    )
    ledger.submit(job)
    return job


def claim(ledger: SyncLedger, job: ChatJob) -> Claimed:
    claimed = ledger.run(
        operations.claim(ledger.keys, job.session_id or "", job.job_id, token="t", worker="w/1", lease=60)
    )
    assert isinstance(claimed, Claimed)
    return claimed


def test_it_needs_no_worker_and_ends_when_it_is_asked(
    processes: Processes, palaver_env: dict[str, str]
) -> None:
    with Client(Settings(redis_url=palaver_env["PALAVER_REDIS_URL"])) as client:
        for session in ("a", "b", "c"):
            client.submit("xyzzy-42", session_id=session, tenant="acme", model="scripted/echo")
    exporter = processes.start(("palaver", "exporter", "--port", "0", "--json"), env=palaver_env)
    address = json.loads(exporter.wait_for(r"^\{.*").group())["url"]
    assert fetched(address, "/readyz") == (200, "ok\n")
    assert fetched(address, "/healthz") == (200, "ok\n")
    assert fetched(address, "/targets") == (200, '[{"targets":[],"labels":{"job":"palaver-worker"}}]')
    status, text = fetched(address, "/metrics")
    assert status == 200
    assert "xyzzy-42" not in text
    found = families(text)
    assert set(found) == {metric.name for metric in EXPORTER}
    for metric in EXPORTER:
        assert found[metric.name].type == metric.kind
        for sample in found[metric.name].samples:
            assert set(sample.labels) == set(metric.labels)
    depth = {sample.labels["queue"]: sample.value for sample in found["palaver_queue_messages"].samples}
    assert depth == {"normal": 3, "high": 0, "low": 0, "resume": 0, "submit": 0, "batch": 0}
    signal_beside(exporter.pid, signal.SIGTERM)
    assert exporter.wait(20) == 0


def test_jobs_are_counted_by_tenant_queue_and_state(system: System, ledger: SyncLedger) -> None:
    claim(ledger, submit(ledger, "a", tenant="acme"))
    submit(ledger, "a", tenant="acme")  # behind it
    submit(ledger, "b", tenant="acme", priority=9)
    submit(ledger, "c", run_at=time.time() + 60)
    assert values(system, "palaver_tenant_jobs") == {
        ("acme", "normal", "running"): 1,
        ("acme", "normal", "waiting"): 1,
        ("acme", "high", "waiting"): 1,
        ("", "normal", "parked"): 1,
    }
    assert values(system, "palaver_jobs_unended") == {(): 4}


def test_the_oldest_that_waits_for_a_worker_is_told(system: System, ledger: SyncLedger) -> None:
    claim(ledger, submit(ledger, "a", tenant="acme"))
    behind, old = submit(ledger, "a", tenant="acme"), submit(ledger, "b", tenant="acme")
    submit(ledger, "c", tenant="other's")
    now = ledger.query(operations.time())
    with redis.Redis.from_url(ledger.settings.redis_url) as raw:
        for job, field, age in ((behind, "created", 90), (old, "sent", 40)):
            key = ledger.keys.job(job.session_id or "", job.job_id)
            raw.hset(key, field, int((now - age) * 1000))
    ages = values(system, "palaver_queue_oldest_age_seconds")
    assert ages[("normal",)] == pytest.approx(40, abs=5), "who waits for its turn waits for no worker"
    assert ages[("high",)] == 0
    tenants = values(system, "palaver_tenant_oldest_age_seconds")
    assert tenants[("acme", "normal")] == pytest.approx(90, abs=5)
    assert tenants[("other's", "normal")] == pytest.approx(0, abs=5)


def test_of_many_jobs_a_part_is_looked_at(
    system: System, ledger: SyncLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sighting.sight, "__kwdefaults__", {"most": 100})
    jobs = [
        ChatJob(messages="x", session_id=f"s{n}", tenant="acme" if n % 4 else "small") for n in range(400)
    ]
    ledger.submit_many(jobs)
    counts = values(system, "palaver_tenant_jobs")
    assert sum(counts.values()) == pytest.approx(400, abs=2)
    assert 200 < counts[("acme", "normal", "waiting")] < 380
    assert values(system, "palaver_jobs_unended") == {(): 400}


def test_more_tenants_than_a_label_may_have_are_others(system: System, ledger: SyncLedger) -> None:
    for n in range(25):
        submit(ledger, f"s{n}", tenant=f"tenant-{n}")
    tenants = {tenant for tenant, *_ in values(system, "palaver_tenant_jobs")}
    assert len(tenants) == 21
    assert "other" in tenants


def test_tenants_of_whom_a_part_is_drawn_have_the_same_labels_each_time(
    system: System, ledger: SyncLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sighting.sight, "__kwdefaults__", {"most": 60})
    monkeypatch.setattr("palaver.producer.cli.system.FRESH_SECONDS", 0.0)
    ledger.submit_many(
        [ChatJob(messages="x", session_id=f"s{n}", tenant=f"tenant-{n % 60}") for n in range(300)]
    )
    first = {tenant for tenant, *_ in values(system, "palaver_tenant_jobs")}
    union = first.union(*({tenant for tenant, *_ in values(system, "palaver_tenant_jobs")} for _ in range(9)))
    assert len(first) == 21
    assert len(union) <= 24


def profile(ledger: SyncLedger, name: str, kind: str = "scripted") -> None:
    ledger.run(operations.announce(ledger.keys.profiles, {name: {"kind": kind}}, seconds=60))


def test_the_gates_of_served_profiles_are_told_also_while_nobody_waits(
    system: System, ledger: SyncLedger
) -> None:
    for name in ("openai", "idle"):
        profile(ledger, name)
    profile(ledger, "default", "alias")
    enter = operations.enter_gate(
        ledger.keys,
        "openai",
        ("s1", "j1"),
        token="t",
        line=operations.Line(),
        limits=Limits(concurrent=5),
        lease=60,
    )
    assert ledger.run(enter).has_place
    assert values(system, "palaver_gate_running") == {("openai",): 1, ("idle",): 0}
    assert values(system, "palaver_gate_waiting") == {("openai",): 0, ("idle",): 0}
    assert values(system, "palaver_gate_paused") == {("openai",): 0, ("idle",): 0}


def test_gates_of_many_profiles_have_few_labels(system: System, ledger: SyncLedger) -> None:
    profile(ledger, "openai")
    for n in range(120):
        ledger.run(operations.close_gate(ledger.keys, f"{'sealed-' if n % 2 else 'p'}{n}", 60))
        ledger.run(operations.close_gate(ledger.keys, f"q{n}", 60))
    closed = {name: seconds for (name,), seconds in values(system, "palaver_gate_closed_seconds").items()}
    assert len(closed) <= 102
    assert closed["sealed"] == pytest.approx(60, abs=5)
    assert closed["other"] == pytest.approx(60, abs=5)
    assert not [name for name in closed if name.startswith("sealed-")]


def test_workers_canaries_and_sweeps_are_told(system: System, ledger: SyncLedger) -> None:
    worker = {"name": "w", "running": 3, "slots": 5, "metrics": "10.0.0.1:9464"}
    ledger.run(operations.announce(ledger.keys.workers, {"w/1": worker}, seconds=60))
    everywhere = {"host": "two.example", "metrics": "0.0.0.0:9465"}
    leaving = {"name": "v", "running": 1, "slots": 5, "draining": True, **everywhere}
    ledger.run(operations.announce(ledger.keys.workers, {"v/1": leaving}, seconds=60))
    ledger.run(operations.send_canaries(ledger.keys, {"palaver.low": False}, period=60, lost=30))
    turn = ledger.sweep_turn(period=0.1)
    assert turn is not None
    ledger.sweep_turn(period=0.1, completed=turn.time)

    assert values(system, "palaver_workers") == {("live",): 1, ("draining",): 1}
    assert values(system, "palaver_worker_slots") == {("w",): 5, ("v",): 5}
    assert values(system, "palaver_worker_streams") == {("w",): 3, ("v",): 1}
    assert values(system, "palaver_queue_canary_age_seconds")[("low",)] > 0
    assert values(system, "palaver_queue_stalled") == {("low",): 0}
    assert values(system, "palaver_last_sweep_age_seconds")[()] < 10
    assert values(system, "palaver_lease_seconds") == {(): 10}
    assert values(system, "palaver_healthy") == {(): 1}
    assert json.loads(pages(system)["/targets"]().body)[0]["targets"] == [
        "10.0.0.1:9464",
        "two.example:9465",  # at 0.0.0.0 others find themselves
    ]


def test_lines_of_batches_are_counted(
    system: System, settings: Settings, redis_server: RedisServer, namespace: str
) -> None:
    assert values(system, "palaver_batch_lines") == {("running",): 0, ("waiting",): 0}
    with closing(World(redis_server, namespace=namespace)) as world:
        one, other = BatchWorld(world, 10), BatchWorld(world, 5)
        one.claim("d1", 4)
        one.note("d1", 0)
        other.claim("d2", 1)
        world.ledger.cancel_batch(other.id)
    with closing(System(settings)) as later:
        assert values(later, "palaver_batches_open") == {(): 2}
        lines = {("running",): 3 + 1, ("waiting",): 10 - 4}
        assert values(later, "palaver_batch_lines") == lines, "of a batch that is called off none begins"


def test_memory_of_redis_is_told_beside_its_bound(system: System, redis_server: RedisServer) -> None:
    with redis_server.client() as raw:
        raw.config_set("maxmemory", 3_000_000_000)
        try:
            used = values(system, "palaver_ledger_memory_bytes")[()]
            limits = values(system, "palaver_ledger_memory_limit_bytes")
            assert used == pytest.approx(raw.info("memory")["used_memory"], rel=0.5)
        finally:
            raw.config_set("maxmemory", 0)
    assert limits == {(): 3_000_000_000}


def test_what_redis_refuses_is_absent_and_the_rest_is_told(
    redis_server: RedisServer, settings: Settings, ledger: SyncLedger, caplog: pytest.LogCaptureFixture
) -> None:
    submit(ledger, "a")
    user = f"no-info-{settings.namespace}"
    with redis_server.client() as raw:
        raw.execute_command("ACL", "SETUSER", user, "on", ">pw", "~*", "&*", "+@all", "-info", "-zrandmember")
        url = settings.redis_url.replace("redis://", f"redis://{user}:pw@")
        try:
            with closing(System(settings.model_copy(update={"redis_url": url}))) as system:
                system.families()
                system._read = float("-inf")  # another scrape
                found = {metric.name: list(samples) for metric, samples in system.families()}
        finally:
            raw.execute_command("ACL", "DELUSER", user)
    up = {sample.labels: sample.value for sample in found["palaver_up"]}
    assert up == {("ledger",): 1, ("broker",): 1}
    assert found["palaver_ledger_memory_bytes"] == []
    assert found["palaver_jobs_unended"] == [], "not zero: nobody knows"
    assert [sample.value for sample in found["palaver_dead_letters"]] == [0]
    assert found["palaver_workers"]
    assert found["palaver_batch_lines"]
    told = [record.getMessage() for record in caplog.records if record.name == "palaver.exporter"]
    assert len(told) == 2, "each once"
    assert "deploy/redis/users.acl" in told[0]


def test_a_queue_that_nobody_takes_from_although_there_is_room_is_stalled(
    system: System, ledger: SyncLedger
) -> None:
    worker = {"name": "w", "running": 0, "slots": 5, "taken": {"palaver.low": 0.0}}
    ledger.run(operations.announce(ledger.keys.workers, {"w/1": worker}, seconds=60))
    queues = {"palaver.normal": False, "palaver.low": False}
    ledger.run(operations.send_canaries(ledger.keys, queues, period=60, lost=30))
    with redis.Redis.from_url(ledger.settings.redis_url) as raw:
        for queue in queues:
            raw.hincrby(ledger.keys.canaries, f"{queue} sent", -60_000)
    assert values(system, "palaver_queue_stalled") == {("normal",): 1, ("low",): 0}
    assert values(system, "palaver_healthy") == {(): 0}


def test_a_ledger_that_is_away_is_told_and_nothing_else(namespace: str) -> None:
    away = f"redis://:xyzzy-42@127.0.0.1:{free_port()}/0"
    system = System(Settings(redis_url=away, namespace=namespace))
    try:
        assert values(system, "palaver_up") == {("ledger",): 0, ("broker",): 0}
        assert values(system, "palaver_queue_messages") == {}
        assert values(system, "palaver_jobs_unended") == {}
        ready = pages(system)["/readyz"]()
        assert ready.status == 503
        assert b"cannot be reached" in ready.body
        assert b"xyzzy-42" not in ready.body
        assert pages(system)["/targets"]().status == 503
        assert pages(system)["/healthz"]().status == 200
    finally:
        system.close()


def test_a_redis_that_answers_and_takes_no_writes_is_not_up(
    own_redis: Callable[..., RedisServer], namespace: str
) -> None:
    server = own_redis()
    with closing(System(Settings(redis_url=server.url, namespace=namespace))) as system:
        assert values(system, "palaver_up") == {("ledger",): 1, ("broker",): 1}
        with server.client() as raw:
            raw.config_set("min-replicas-to-write", 1)
        system._read = float("-inf")  # another scrape
        assert values(system, "palaver_up") == {("ledger",): 0, ("broker",): 1}
        assert values(system, "palaver_jobs_unended") == {(): 0}, "what can be read is told"
        ready = pages(system)["/readyz"]()
        assert ready.status == 503
        assert b"ledger: The ledger takes nothing now: too few replicas hear of it." in ready.body
