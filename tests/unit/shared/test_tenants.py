"""What tenants may have, in palaver.toml: what may be said, for whom it counts, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from palaver.shared.errors import ConfigurationError
from palaver.shared.names import Queue
from palaver.shared.settings import Settings
from palaver.shared.tenants import Strictest, Tenant, Tenants
from palaver.workers.tenancy import Tenancy

TABLES = """
[tenants."*"]
running = 50
user_running = 5
queued = 1000

[tenants.acme]
weight = 3
running = false

[tenants.""]
user_running = 1
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "palaver.toml").write_text(TABLES)
    return Settings(config=str(tmp_path / "palaver.toml"))


def test_a_table_has_what_it_leaves_out_from_that_of_all(settings: Settings) -> None:
    tenants = Tenants.load(settings)
    assert tenants.of("acme") == Tenant(weight=3, user_running=5, queued=1000)
    assert tenants.of("other") == Tenant(running=50, user_running=5, queued=1000)
    assert tenants.of(None) == tenants.of("") == Tenant(running=50, user_running=1, queued=1000)


def test_without_tables_nothing_is_limited() -> None:
    assert Tenants({}).of("acme") == Tenant()
    assert Tenants({}).of(None).weight == 1


def test_a_priority_counts_as_far_as_the_tenant_may_have_it() -> None:
    tenants = Tenants({"*": {"priority_most": 5}, "acme": {"priority_most": False}})
    queues = [
        tenants.of(tenant).queue_for(priority) for tenant in ("other", "acme") for priority in (9, 5, 1)
    ]
    assert queues == [
        *(Queue.NORMAL, Queue.NORMAL, Queue.LOW),
        *(Queue.HIGH, Queue.NORMAL, Queue.LOW),
    ]


def test_the_environment_wins(settings: Settings) -> None:
    own = settings.model_copy(update={"tenants": {"acme": {"running": 7}}})
    assert Tenants.load(own).of("acme") == Tenant(running=7, user_running=5, queued=1000)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"running": 0}, r"tenants.acme.running: must be at least 1, not "),
        ({"running": True}, r"tenants.acme.running: must be "),
        ({"weight": 1001}, r"tenants.acme.weight: must be at most 1000, not "),
        ({"weight": False}, r"tenants.acme.weight: must be "),
        ({"spend_hard": -1.0}, r"tenants.acme.spend_hard: must be at least 0, not "),
        ({"spend_soft": 2.0, "spend_hard": 1.0}, r"spend_soft: must be at most spend_hard, 1, not 2"),
        ({"spend_unpriced": "maybe"}, r"tenants.acme.spend_unpriced: must be "),
        ({"runing": 3}, r"tenants.acme.runing: is not a known field"),
        ({"priority_most": 10}, r"tenants.acme.priority_most: must be at most 9, not "),
        (5, r"tenants.acme: must be a table, not "),
    ],
)
def test_what_is_wrong_is_told_with_its_place(table: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Tenants.load(Settings(tenants={"acme": table}))


def test_a_worker_follows_its_file(settings: Settings) -> None:
    tenancy, file = Tenancy(settings), Path(settings.config)
    assert not tenancy.renew()
    file.write_text("[tenants.acme]\nweight = 12\n")
    assert tenancy.renew()
    assert tenancy.of("acme") == Tenant(weight=12)
    file.write_text("[tenants.acme]\nweight = 'much'\n")
    assert not tenancy.renew()
    assert tenancy.of("acme").weight == 12


def test_bounds_are_told_to_other_processes(settings: Settings) -> None:
    own = settings.model_copy(
        update={"tenants": {"acme": {"queued": False, "spend_hard": 0.0}, "x": {"weight": 2}}}
    )
    told = Tenants.bounded(Tenants.load(own).bounds)
    assert told.of("acme") == Tenant(spend_hard=0)
    assert told.of("x") == told.of("other") == Tenant(queued=1000)
    assert Tenants({"*": {"running": 5}}).bounds == {}


def test_the_strictest_of_several_tables_holds() -> None:
    own = Tenants({"acme": {"queued": 5, "spend_hard": 3.0, "weight": 2}})
    both = Strictest([own, Tenants({"*": {"queued": 7, "spend_soft": 1.0}})])
    assert both.of("acme") == Tenant(queued=5, spend_soft=1.0, spend_hard=3.0, weight=2)
    assert both.of(None) == Tenant(queued=7, spend_soft=1.0)
