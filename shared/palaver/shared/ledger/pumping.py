"""Gates as conversations without I/O: what time has made free there is handed out, and how they are."""

from collections.abc import Collection

from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operations import gating, reading
from palaver.shared.ledger.replies import Dispatch, HandedOut
from palaver.shared.ledger.views import Gate


def pump(keys: Keys, *, time: float, limit: int) -> Exchange[list[Dispatch]]:
    """Hand out places at the gates that are to be looked at by `time` (of Redis). Returns the jobs that have
    one.
    """
    due = yield from exchange.query(gating.gates_due(keys, time=time, limit=limit))
    answers = yield from exchange.run_many([gating.pump_gate(keys, profile) for profile in due])
    handed = {
        profile: answer for profile, answer in zip(due, answers, strict=True) if isinstance(answer, HandedOut)
    }
    idle = {profile: due[profile] for profile, answer in handed.items() if not answer.next_look}
    if idle:
        yield from exchange.run(gating.settle_gates(keys, idle))
    return [dispatch for answer in handed.values() for dispatch in answer.dispatches]


def listing(keys: Keys) -> Exchange[list[Gate]]:
    """The gates that are closed or paused, or at which somebody waits, by name."""
    noted = yield from exchange.query(gating.gates(keys))
    served = yield from exchange.run(reading.announced(keys.profiles))
    names = {*noted, *(announcement.name for announcement in served)}
    gates = yield from _looked_at(keys, names)
    return [gate for gate in gates if gate.closed_for or gate.paused or gate.waiting]


def of_profiles(keys: Keys) -> Exchange[list[Gate]]:
    """The gates of all profiles that are served, and of those at which something is to be seen; by name."""
    noted = yield from exchange.query(gating.gates(keys))
    served = yield from exchange.run(reading.announced(keys.profiles))
    profiles = {name for name in noted if not name.startswith(gating.TENANT)}
    profiles.update(each.name for each in served if each.data.get("kind") != "alias")
    return (yield from _looked_at(keys, profiles))


def _looked_at(keys: Keys, names: Collection[str]) -> Exchange[list[Gate]]:
    return (yield from exchange.query_many([gating.gate(keys, name) for name in sorted(names)]))
