"""Gates as conversations without I/O: what time has made free there is handed out, and how they are."""

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
    gates = []
    for profile in sorted({*noted, *(announcement.name for announcement in served)}):
        gate = yield from exchange.query(gating.gate(keys, profile))
        if gate.closed_for or gate.paused or gate.waiting:
            gates.append(gate)
    return gates
