"""Which bounds a producer holds to: its own, and those that workers announce, as they are now."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from palaver.producer.cli import main
from palaver.shared.errors import ConfigurationError, QueueFullError, SpendLimitError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import SyncLedger, operations, rules
from palaver.shared.settings import Settings
from palaver.workers.tenancy import Tenancy
from tests.integration.ledger.world import World

Announce = Callable[..., None]


@pytest.fixture
def announce(world: World) -> Announce:
    """Have a worker with these settings announce what they bound."""

    def say(*, seconds: float = 60, **settings: Any) -> None:
        announced = Tenancy(Settings(**settings)).announcements
        world.ledger.run(operations.announce_bounds(world.keys, announced, seconds=seconds))

    return say


def producer(world: World, **settings: Any) -> SyncLedger:
    return SyncLedger(world.settings.model_copy(update=settings))


def of(tenant: str | None) -> ChatJob:
    return ChatJob(messages="Hi", tenant=tenant)


def room(ledger: SyncLedger, tenant: str | None, most: int = 9) -> int:
    """How many jobs of the tenant are taken, up to so many."""
    for taken in range(most):
        try:
            ledger.submit(of(tenant))
        except QueueFullError:
            return taken
    return most


def test_a_producer_without_a_table_is_bounded_as_workers_are(world: World, announce: Announce) -> None:
    announce(
        tenants={"*": {"queued": 2, "spend_hard": 5.0}, "free": {"queued": False}, "off": {"spend_hard": 0}}
    )
    with producer(world) as ledger:
        assert [room(ledger, name) for name in ("acme", None, "free")] == [2, 2, 9]
        with pytest.raises(SpendLimitError):
            ledger.submit(of("off"))
        assert ledger.spending("acme").hard == 5
        assert ledger.spending("free").hard == 5


def test_the_stricter_of_both_holds(world: World, announce: Announce) -> None:
    announce(tenants={"*": {"queued": 3}, "acme": {"queued": 1}}, max_jobs=6)
    with producer(world, tenants={"acme": {"queued": 5}, "other": {"queued": 2}}, max_jobs=50) as ledger:
        assert [room(ledger, name) for name in ("acme", "other", "third")] == [1, 2, 3]
        with pytest.raises(QueueFullError, match=r"^There are 6 jobs"):
            ledger.submit(of("fourth"))


def test_tables_of_several_workers_hold_until_they_expire(
    world: World, announce: Announce, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(tenants={"*": {"queued": 1}})
    announce(tenants={"*": {"queued": 3}})
    announce()
    with producer(world) as ledger:
        assert room(ledger, "a") == 1
        expire(world)
        announce(tenants={"*": {"queued": 2}})
        assert room(ledger, "b") == 1
        monkeypatch.setattr(rules, "FRESH_SECONDS", 0)
        assert room(ledger, "c") == 2, "those that no worker has any more are gone"


def expire(world: World) -> None:
    """Every worker is silent from now on, and has been for long."""
    for name, said in world.raw.hgetall(world.keys.tenants).items():
        announcement = {**orjson.loads(said), "expires": 2000, "time": 1}
        world.raw.hset(world.keys.tenants, name, orjson.dumps(announcement))


def test_bounds_outlive_the_last_worker(world: World, announce: Announce) -> None:
    announce(tenants={"*": {"queued": 3}})
    announce(tenants={"*": {"queued": 2}}, max_jobs=3)
    expire(world)
    with producer(world) as ledger:
        assert [room(ledger, name) for name in ("a", "b")] == [2, 1]
    assert world.raw.pttl(world.keys.tenants) > 29 * 24 * 3600 * 1000


def test_a_worker_without_bounds_ends_those_of_workers_that_are_gone(
    world: World, announce: Announce
) -> None:
    announce(tenants={"*": {"queued": 1}})
    expire(world)
    announce()
    with producer(world) as ledger:
        assert room(ledger, "a") == 9


def test_an_operator_loosens_bounds_while_no_worker_runs(
    world: World,
    announce: Announce,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(rules, "FRESH_SECONDS", 0)
    monkeypatch.setenv("PALAVER_REDIS_URL", world.settings.redis_url)
    monkeypatch.setenv("PALAVER_TENANTS", '{"*": {"queued": 3}}')
    announce(tenants={"*": {"queued": 1}})
    with producer(world) as ledger:
        assert room(ledger, "a") == 1
        assert main(["tenants", "announce"]) == 0
        assert "1 other tables of workers are in force" in capsys.readouterr().err
        assert room(ledger, "b") == 1
        expire(world)
        assert main(["tenants", "announce", "--json"]) == 0
        assert orjson.loads(capsys.readouterr().out)["others"] == []
        assert room(ledger, "c") == 3
        monkeypatch.setenv("PALAVER_TENANTS", "{}")
        assert main(["tenants", "announce"]) == 2
        assert "--none" in capsys.readouterr().err
        assert room(ledger, "d") == 3, "nobody has said that there are no bounds"
        assert main(["tenants", "announce", "--none"]) == 0


def test_a_producer_remembers_what_the_ledger_has_lost(
    world: World, announce: Announce, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the next worker has said it, after a Redis that kept nothing."""
    monkeypatch.setattr(rules, "FRESH_SECONDS", 0)
    announce(tenants={"*": {"queued": 1}})
    with producer(world) as ledger:
        assert room(ledger, "a") == 1
        world.raw.flushall()
        assert room(ledger, "b") == 1
        announce(tenants={"*": {"queued": 2}})
        assert room(ledger, "c") == 2


def test_a_producer_follows_its_file(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rules, "FRESH_SECONDS", 0)
    file = tmp_path / "palaver.toml"
    file.write_text("")
    with producer(world, config=str(file)) as ledger:
        assert ledger.submit(of("acme")).created
        file.write_text("[tenants.acme]\nqueued = 2\n")
        assert room(ledger, "acme") == 2
        file.write_text("[tenants.acme]\nqueued = 'many'\n")
        assert room(ledger, "acme") == 0, "the last good table holds"
        assert "tenants.acme.queued" in caplog.text
        file.write_text("[tenants.acme]\nspend_hard = 0\n")
        with pytest.raises(SpendLimitError):
            ledger.submit(of("acme"))


def test_a_table_that_cannot_be_read_is_refused_at_first(world: World, tmp_path: Path) -> None:
    (tmp_path / "palaver.toml").write_text("[tenants.acme]\nqueued = 'many'\n")
    with (
        producer(world, config=str(tmp_path / "palaver.toml")) as ledger,
        pytest.raises(ConfigurationError, match="queued"),
    ):
        ledger.submit(of("acme"))


def test_what_another_version_announces_bounds_nothing_and_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rules, "FRESH_SECONDS", 0)
    strange: dict[str, dict[str, Any]] = {
        "a": {"tenants": 3},
        "b": {},
        "c": {"jobs": None, "tenants": {"*": {"later": 1}}},
    }
    world.ledger.run(operations.announce_bounds(world.keys, strange, seconds=60))
    with producer(world) as ledger:
        assert room(ledger, "acme") == 9
    assert caplog.text.count("bounds_unread") == 2, "once each, and `c` bounds nothing that is known"
