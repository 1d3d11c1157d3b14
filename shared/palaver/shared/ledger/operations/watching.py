"""What tells whether work is done: a canary in each broker queue, and the last sweep that was completed."""

from collections.abc import Mapping, Sequence
from typing import Any

from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Argument, Command, Operation, Query, milliseconds, text
from palaver.shared.ledger.operations.reading import checked
from palaver.shared.ledger.replies import Canary, CanaryState, Vigil
from palaver.shared.ledger.scripts import load


def send_canaries(
    keys: Keys, empty: Mapping[str, bool], *, period: float, lost: float
) -> Operation[list[Canary]]:
    """The canaries that are to be sent now, of these queues: one every `period` seconds after the last was
    taken. Of a queue that is known to have been `empty` one that nobody took for `lost` seconds is lost.
    """

    def decode(raw: Any) -> list[Canary]:
        _, now, *queues = checked(raw)
        return [Canary(text(queue), int(now)) for queue in queues]

    args: list[Argument] = [milliseconds(period), milliseconds(lost)]
    for queue, was_empty in empty.items():
        args += [queue, int(was_empty)]
    return Operation(script=load("canary_send"), keys=(keys.canaries,), args=tuple(args), decode=decode)


def take_canary(keys: Keys, canary: Canary) -> Operation[None]:
    """A worker has it."""

    def decode(raw: Any) -> None:
        checked(raw)

    args = (canary.queue, canary.sent)
    return Operation(script=load("canary_take"), keys=(keys.canaries,), args=args, decode=decode)


def vigil(keys: Keys) -> Query[Vigil]:
    """How it stands."""

    def decode(replies: Sequence[Any]) -> Vigil:
        flat, swept, (seconds, microseconds) = replies
        now = int(seconds) + int(microseconds) / 1e6
        fields = {text(flat[i]): int(flat[i + 1]) / 1000 for i in range(0, len(flat), 2)}
        queues = [name.partition(" ")[0] for name in fields if name.endswith(" sent")]
        return Vigil(
            time=now,
            canaries={queue: _state(queue, fields, now) for queue in queues},
            swept_ago=None if swept is None else max(0.0, now - int(swept) / 1000),
        )

    commands = (Command("HGETALL", keys.canaries), Command("HGET", keys.sweep, "done"), Command("TIME"))
    return Query(commands=commands, decode=decode)


def write_nothing(keys: Keys) -> Query[None]:
    """A write that changes nothing. Redis refuses it while it refuses all of them, for its disk or its
    replicas; not for want of memory.
    """
    return Query(commands=(Command("HDEL", keys.canaries, ""),), decode=lambda _replies: None)


def _state(queue: str, fields: Mapping[str, float], now: float) -> CanaryState:
    sent, taken = fields[f"{queue} sent"], fields.get(f"{queue} taken", 0.0)
    waits_for = max(0.001, now - sent) if sent > taken else 0.0  # in its first millisecond it waits too
    return CanaryState(waits_for=waits_for, waited=fields.get(f"{queue} wait"))
