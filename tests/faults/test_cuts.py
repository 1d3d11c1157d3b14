"""A connection cut before the reply of every script, in turn: it has run, and nobody knows.

The worker resends and the client repeats; nothing may happen twice.
"""

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from palaver.producer import Client
from palaver.shared.batches import BatchStatus
from palaver.shared.conversations import ConversationMessage, ConversationSession, MessageType
from palaver.shared.errors import ErrorInfo, JobExpiredError, QueueFullError, ValidationError
from palaver.shared.ids import new_job_id
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import Bounds, Canary, Claimed, Prospect, SyncLedger, operations, script_names
from palaver.shared.ledger.operations.budgeting import Standing
from palaver.shared.ledger.replies import AgentSession
from palaver.shared.sessions import SessionStatus
from palaver.shared.spending import today
from palaver.shared.tenants import Tenants
from tests.faults.proxy import Proxy, Trap
from tests.faults.stand import Job, Stand, until
from tests.integration.ledger.batch_world import BatchWorld
from tests.integration.ledger.floor import Floor
from tests.integration.ledger.gate_world import Gate, P, at
from tests.integration.ledger.world import World

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]

WORKERS_OWN = (
    "claim",
    "append",
    "renew",
    "save_entry",
    "note_failures",
    "finish",
    "bury",
    "count",
    "announce",
    "sweep",
    "look",
    "settle",
    "cache_enter",
    "cache_leave",
    "cache_keep",
)
"""`release` comes at its end."""
CLIENTS_OWN = ("announced", "watch", "submit", "snapshot")
"""`index` only for jobs that have a time."""
COMMANDS = ("SET", "GET", "LPUSH", "SUBSCRIBE", "XRANGE")
CONVERSING = {
    "open_session",
    "set_status",
    "store_messages",
    "prolong",
    "erase_session",
    "keep_context",
    "keep_profile",
}
"""Of what a conversation, its agent and a sealed profile need in the ledger."""
THROTTLING = {"throttle"}
"""Of what the gateway needs."""
AT_GATES = {
    *("gate_enter", "gate_leave", "gate_keep", "gate_pump", "gate_close", "gate_where", "gate_forget"),
}
"""Of what requests to a provider with limits need; made twice at random in `test_gate.py`."""
ADMITTING = {"admit", "spend"}
"""Of what is needed where the number of jobs is bounded, and what they may cost."""
TAKING_TURNS = {"ready_enter", "ready_begun", "ready_where", "ready_leave"}
"""Of what jobs of tenants and users need that wait for a worker."""
TELLING = {"webhook_enter", "webhook_due", "webhook_take", "webhook_stands", "webhook_leave", "take"}
"""Of what webhooks need, and the removal of batches."""
WATCHING = {"canary_send", "canary_take"}
"""Of what tells whether jobs are taken."""
BATCHING = {
    *(
        "batch_open",
        "batch_claim",
        "batch_done",
        "batch_renew",
        "batch_gather",
        "batch_flushed",
        "batch_leave",
    ),
    *("batch_look", "batch_results", "batch_sweep", "batch_cancel", "batch_end"),
}
"""Of what a batch needs: of its client, its drivers and its sweepers."""
SELDOM = {"refuse", "expire", "messages", "announced", "sweep", "look", "settle", "enlist", "drop", "shift"}
"""Of clients too, and of whoever else sweeps; beside `cancel`."""


@pytest.fixture
def proxy(stand: Stand) -> Iterator[Proxy]:
    with Proxy(stand.redis.port) as proxy:
        yield proxy


@pytest.fixture
def ledger(stand: Stand, proxy: Proxy) -> Iterator[SyncLedger]:
    with SyncLedger(stand.settings.model_copy(update={"redis_url": proxy.url})) as ledger:
        yield ledger


@pytest.fixture
def client(stand: Stand, proxy: Proxy) -> Iterator[Client]:
    client = Client(stand.settings.model_copy(update={"redis_url": proxy.url, "broker_url": proxy.url}))
    yield client
    client.close()


def mixed(stand: Stand, name: str) -> tuple[list[Job], list[Job]]:
    """Jobs that make a worker run all of its scripts: those that complete, and one that fails."""
    once = {"fail": {"kind": "status", "status": 500, "times": 1}, "key": name}
    good = stand.submit(3, words=24, rate=20, session_id=f"line-{name}", history=[])
    good += stand.submit(1, words=10, script=once)
    good += stand.submit(1, words=10, script={"tool_calls": [{"id": "c1", "name": "look"}]})
    good += stand.submit(1, words=5, run_at=time.time() + 1)
    good += stand.submit(1, words=7, script={"key": name}, cache=True)
    return good, stand.submit(1, script={"fail": {"kind": "status", "status": 400}})


def test_no_script_is_left_out() -> None:
    assert set(script_names()) == {
        *WORKERS_OWN,
        "release",
        *CLIENTS_OWN,
        "index",
        *SELDOM,
        *CONVERSING,
        *THROTTLING,
        *AT_GATES,
        *ADMITTING,
        *TAKING_TURNS,
        *TELLING,
        *WATCHING,
        *BATCHING,
        "cancel",
    }


@pytest.mark.long
def test_a_worker_that_hears_no_reply(stand: Stand, proxy: Proxy) -> None:
    (worker,) = stand.workers(1, env={"PALAVER_REDIS_URL": proxy.url})
    for name in WORKERS_OWN:
        trap = proxy.cut(name)
        good, bad = mixed(stand, name)
        trap.wait()
        books = stand.settle(good)
        stand.settle(bad, status=Status.FAILED)
        assert all(books.attempts(job) == [1] for job in good), f"cut before the reply of {name}"
    trap = proxy.cut("release")
    jobs = stand.submit(3, words=80, rate=20)
    stand.streaming(jobs)
    worker.signal(signal.SIGTERM)
    trap.wait()
    assert worker.wait(30) == 0
    stand.workers(1)
    books = stand.settle(jobs)
    assert all(books.attempts(job) == [1, 2] for job in jobs)


@pytest.mark.long
def test_a_client_that_hears_no_reply(stand: Stand, proxy: Proxy, client: Client) -> None:
    stand.workers(1)
    for name in (*CLIENTS_OWN, *COMMANDS):
        trap = proxy.cut(name)
        # an id of its own is reserved first
        handle = client.submit('{"n": 20, "rate": 20}', model="prefix/m", job_id=new_job_id())
        text = "".join(chunk.delta for chunk in handle)
        assert handle.result(timeout=20).content == text
        assert trap.caught, f"nobody sent {name}"
        stand.settle([Job(handle, text)])
    trap = proxy.cut("index")
    handle = client.submit('{"n": 3}', model="prefix/m", run_at=time.time() + 0.5)
    trap.wait()
    stand.settle([Job(handle, " w0 w1 w2")])


def test_a_canceller_that_hears_no_reply(stand: Stand, proxy: Proxy, client: Client) -> None:
    trap = proxy.cut("cancel")
    waits = client.submit("never run", model="prefix/m", session_id="s")
    assert waits.cancel() is Status.CANCELLED
    trap.wait()
    stand.workers(1)
    trap = proxy.cut("cancel")
    runs = stand.submit(1, words=400, rate=20)
    stand.streaming(runs)
    client.job(runs[0].id).cancel()
    trap.wait()
    stand.settle([Job(waits, ""), *runs], status=Status.CANCELLED)


def sweep(ledger: SyncLedger, trap: Trap) -> bool:
    """Sweep, let the messages be lost, and say whether a reply was."""
    turn = ledger.sweep_turn(period=0.05)
    if turn is not None:
        ledger.sweep(turn)
    return trap.caught


def cutting(proxy: Proxy, names: set[str]) -> Callable[[str, Callable[[], object]], object]:
    """Does something while the reply of a script is cut off, and notes the name of the script."""

    def cut(name: str, work: Callable[[], object]) -> object:
        trap = proxy.cut(name)
        names.add(name)
        done = work()
        trap.wait(0.1)
        return done

    return cut


@pytest.mark.long
def test_what_else_a_client_does_and_hears_no_reply(
    stand: Stand, proxy: Proxy, ledger: SyncLedger, client: Client
) -> None:
    names = set[str]()
    cut = cutting(proxy, names)
    wrong = ErrorInfo.of(ValidationError("it is not valid"))
    refused = new_job_id()
    cut("refuse", lambda: ledger.refuse("refused", refused, wrong))
    (overdue,) = stand.submit(1, deadline=1)
    with pytest.raises(JobExpiredError):
        cut("expire", lambda: client.job(overdue.id).result(timeout=10))
    assert cut("messages", lambda: ledger.messages(overdue.session)) == []
    assert cut("announced", ledger.workers) == []
    assert cut("drop", lambda: ledger.drop_dead([(overdue.session, overdue.id)])) == 1
    assert overdue.id not in [letter.job_id for letter in ledger.dead()]
    lost = stand.submit(1, run_at=time.time() + 0.2)
    stand.ledger.sweep_turn()
    stand.raw.hincrby(stand.ledger.keys.sweep, "last", 60_000)  # as if the clock had gone back
    for name in ("shift", "sweep", "look", "settle", "enlist"):
        trap = proxy.cut(name)
        names.add(name)
        stand.raw.zadd(stand.ledger.keys.due, {f"{lost[0].session}/{lost[0].id}": 1})
        until(lambda trap=trap: sweep(ledger, trap), f"no {name}")  # type: ignore[misc]
    assert names == SELDOM
    stand.workers(1)
    stand.settle(lost)
    stand.settle([Job(client.job(refused), "")], status=Status.FAILED)
    stand.settle([overdue], status=Status.EXPIRED)


def test_what_conversations_need_and_hears_no_reply(stand: Stand, proxy: Proxy, ledger: SyncLedger) -> None:
    names, keys = set[str](), ledger.keys
    cut = cutting(proxy, names)
    session = ConversationSession(user="ann", created=1_700_000_000.0)
    said = ConversationMessage(session_id=session.id, message_type=MessageType.USER, content="Hi")
    opening = operations.open_session(keys, session, retention=ledger.retention)
    cut("open_session", lambda: ledger.run(opening))
    assert ledger.query(operations.session(keys, session.session_id)) == session
    closing = operations.set_status(keys, session.session_id, SessionStatus.COMPLETED)
    assert cut("set_status", lambda: ledger.run(closing))
    storing = operations.store_messages(keys, session.session_id, [said], retention=ledger.retention)
    cut("store_messages", lambda: ledger.run(storing))
    page = ledger.query(operations.stored_messages(keys, session.session_id, after=None, limit=10))
    assert page.items == [said]
    prolonging = operations.prolong(keys, session.session_id, ["gone"], retention=ledger.retention)
    cut("prolong", lambda: ledger.run(prolonging))
    cut("erase_session", lambda: ledger.erase([session.session_id]))
    assert list(stand.raw.scan_iter(f"*{session.session_id}*")) == []
    keeping = operations.keep_profile(keys, "sealed-1", b"content", seconds=60)
    assert cut("keep_profile", lambda: ledger.run(keeping))

    (job,) = stand.submit(1)
    claim = operations.claim(keys, job.session, job.id, token="t", worker="w", lease=30.0)
    claimed = ledger.run(claim)
    assert isinstance(claimed, Claimed)
    keeping_context = operations.keep_context(
        keys, job.session, job.id, fence=claimed.fence, path="support", context=b"{}"
    )
    first = cut("keep_context", lambda: ledger.run(keeping_context))
    assert isinstance(first, AgentSession)
    assert first.own == b"{}"
    assert names == CONVERSING


def test_a_request_that_hears_no_reply_is_counted_once(
    stand: Stand, proxy: Proxy, ledger: SyncLedger
) -> None:
    names, keys = set[str](), ledger.keys
    cut = cutting(proxy, names)
    first, begun = operations.throttle(keys, "k1", per_minute=20, token="t1"), time.monotonic()
    assert cut("throttle", lambda: ledger.run(first)) == 0
    assert ledger.run(operations.throttle(keys, "k1", per_minute=20, token="t2")) == 0
    wait = ledger.run(operations.throttle(keys, "k1", per_minute=20, token="t3"))
    assert 3 - (time.monotonic() - begun) <= wait <= 3
    assert names == THROTTLING


def test_what_a_gate_needs_when_nobody_hears_a_reply(stand: Stand, proxy: Proxy, ledger: SyncLedger) -> None:
    names, keys = set[str](), ledger.keys
    cut = cutting(proxy, names)
    world = World(stand.redis)
    world.ledger = ledger
    gate = Gate(world)

    def there() -> tuple[int, int]:
        (found,) = ledger.gates()
        return found.running, found.waiting

    assert cut("gate_enter", lambda: gate.has_place("a1", "a2", "a3")) == [True, False, False]
    assert there() == (1, 2)
    place = cut("gate_where", lambda: ledger.run(operations.where_at_gate(keys, P, at("a3"))))
    assert isinstance(place, Prospect)
    assert place.position == 1
    gate.park("a2", "a3")
    keeping = operations.keep_places(keys, P, {at("a1"): "a1-t"}, lease=60)
    cut("gate_keep", lambda: ledger.run(keeping))
    assert cut("gate_leave", lambda: gate.leave("a1")) == ["a2"]
    assert there() == (1, 1)
    assert cut("gate_pump", lambda: gate.pump(ended="a2")) == ["a3"]
    assert gate.has_place("a4") == [False]
    assert there() == (1, 1)
    job = world.submit()
    place = (job.session_id, job.job_id)
    fence = world.claim(job).fence
    waiting = operations.enter_gate(
        keys, P, place, token="t", line=operations.Line(), limits=gate.limits, lease=30, parked=True
    )
    ledger.run(waiting)
    ledger.run(operations.release(keys, *place, fence=fence, delay=60, gate=P))
    assert there() == (1, 2)
    assert cut("gate_forget", lambda: ledger.cancel(*place).status) is Status.CANCELLED
    assert there() == (1, 1)
    cut("gate_close", lambda: ledger.run(operations.close_gate(keys, P, 60)))
    assert 50 < ledger.gates()[0].closed_for <= 60
    assert names == AT_GATES
    world.close()


def test_a_canary_whose_sender_hears_no_reply_is_found_lost_and_sent_again(
    stand: Stand, proxy: Proxy, ledger: SyncLedger
) -> None:
    names, keys, queue = set[str](), ledger.keys, "palaver.low"
    cut = cutting(proxy, names)

    def send(*, empty: bool, to: str = queue) -> list[Canary]:
        return ledger.run(operations.send_canaries(keys, {to: empty}, period=60, lost=0.001))

    assert send(empty=False, to="palaver.high")
    assert cut("canary_send", lambda: send(empty=False)) == []
    assert ledger.vigil().canaries[queue].waits_for > 0
    assert send(empty=False) == []
    found: list[Canary] = []
    until(lambda: found.extend(send(empty=True)) or found, "it is lost")  # type: ignore[func-returns-value]
    (canary,) = found
    cut("canary_take", lambda: ledger.run(operations.take_canary(keys, canary)))
    assert ledger.vigil().canaries[queue].waits_for == 0
    assert names == WATCHING


def test_a_job_that_hears_no_reply_has_one_place_and_one_cost(
    stand: Stand, proxy: Proxy, ledger: SyncLedger
) -> None:
    names = set[str]()
    cut = cutting(proxy, names)
    ledger.bounds = Bounds(None, Tenants({"acme": {"queued": 1}}))
    job = ChatJob(messages="Hi", tenant="acme")
    stored = cut("admit", lambda: ledger.submit(job))
    assert ledger.submit(job) == stored
    with pytest.raises(QueueFullError):
        cut("admit", lambda: ledger.submit(ChatJob(messages="Hi", tenant="acme")))
    ledger.cancel(job.job_id, job.job_id)
    assert ledger.submit(ChatJob(messages="Hi", tenant="acme")).created
    more = operations.OneMore(nanos=10**9, hard=None)
    adding = operations.spend(ledger.keys, today(), "acme", worker="w", number=1, nanos=10**9, one_more=more)
    standing = cut("spend", lambda: ledger.run(adding))
    assert standing == Standing(1, 1, may_run=True)
    assert ledger.spending("acme").spent == 1
    assert names == ADMITTING


def test_what_takes_turns_when_nobody_hears_a_reply(stand: Stand, proxy: Proxy, ledger: SyncLedger) -> None:
    names = set[str]()
    cut = cutting(proxy, names)
    world = World(stand.redis)
    world.ledger = ledger
    floor = Floor(world)
    floor.submit("a0")
    cut("ready_enter", lambda: floor.submit("a1", "b0", "b1"))
    assert floor.waiting() == 4
    assert cut("ready_where", lambda: floor.ahead("b0")) == 1
    floor.begin("a0")
    assert cut("ready_begun", lambda: floor.begin("a1")) == ["b0"]
    assert floor.waiting() == 1
    stored = floor.jobs["b1"][1]
    cut("ready_leave", lambda: ledger.cancel(stored.session_id, stored.job_id))
    assert floor.waiting() == 0
    assert names == TAKING_TURNS
    world.close()


def test_what_webhooks_need_when_nobody_hears_a_reply(stand: Stand, proxy: Proxy, ledger: SyncLedger) -> None:
    names, keys = set[str](), ledger.keys
    cut = cutting(proxy, names)
    job = ChatJob(messages="hello", webhook="https://example.org/hook")
    place = (job.job_id, job.job_id)
    cut("webhook_enter", lambda: ledger.submit(job))

    def taken(seconds: float) -> list[tuple[tuple[str, str], str]]:
        return ledger.run(operations.take_webhooks(keys, seconds=seconds, limit=9)).webhooks

    assert taken(60) == []
    cut("webhook_due", lambda: ledger.cancel(*place))
    # it is there again when the time of who took it and did not hear of it is over
    assert cut("webhook_take", lambda: taken(3)) == []
    until(lambda: taken(60), "it is lost")
    cut("take", lambda: ledger.run(operations.take_stored_batches(keys, seconds=1, limit=9)))
    stands = operations.webhook_stands(keys, *place, "delivered")
    cut("webhook_stands", lambda: ledger.run(stands))
    assert ledger.job(job.job_id).webhook == "delivered"
    cut("webhook_leave", lambda: ledger.query(operations.forget_webhook(keys, *place)))
    assert stand.raw.keys(f"{keys.webhooks}*") == []
    assert names == TELLING


def test_what_a_batch_needs_when_nobody_hears_a_reply(stand: Stand, proxy: Proxy, ledger: SyncLedger) -> None:
    names = set[str]()
    cut = cutting(proxy, names)
    world = World(stand.redis)
    world.ledger = ledger
    batch = cut("batch_open", lambda: BatchWorld(world, total=4))
    assert isinstance(batch, BatchWorld)
    assert cut("batch_claim", lambda: batch.claim("d1", 3)) == [0, 1, 2]
    cut("batch_done", lambda: batch.note("d1", 0, 1))
    cut("batch_renew", batch.renew)
    gathered = cut("batch_gather", batch.gather)
    cut("batch_flushed", lambda: batch.flush(gathered))  # type: ignore[arg-type] # what gather returns
    cut("batch_leave", batch.leave)
    assert cut("batch_look", batch.view).counts.completed == 2  # type: ignore[attr-defined] # a view
    cut("batch_results", lambda: ledger.batch_results(batch.id, after=0))
    trap = proxy.cut("batch_sweep")
    names.add("batch_sweep")
    until(lambda: sweep(ledger, trap), "no batch_sweep")
    assert batch.claim("d2", 100) == [2, 3], "what the first has left, and what nobody had"
    assert cut("batch_cancel", lambda: ledger.cancel_batch(batch.id)) is BatchStatus.CANCELLING
    batch.note("d2", 2, 3)
    batch.flush(batch.gather("d2"), "d2")
    assert cut("batch_end", lambda: batch.end("d2")) is BatchStatus.CANCELLED
    assert [event["type"] for event in batch.events()].count("stream_end") == 1
    assert names == BATCHING
    world.close()
