"""A sweeper of the machine: it sweeps the ledger, and the model says what every look of that must find."""

from dataclasses import dataclass, field
from typing import Any, Final

from palaver.shared.ledger import Dispatch, exchange, operations, sweeping
from palaver.shared.ledger.keys import parse_due_member
from palaver.shared.ledger.replies import Looked, Passed, SweepTurn, Swept
from palaver.shared.names import QUEUES
from tests.faults.ledger_calls import KEYS, LEASE, RETENTION
from tests.faults.ledger_model import RESUME, Model
from tests.faults.ledger_servers import Server, run
from tests.faults.ledger_watch import Watch

ALL_QUEUES: Final = tuple(queue.value for queue in QUEUES)
PERIOD: Final = 1_000
QUIET: Final = 3_000
"""When no sweeper was heard of for longer, leases may have run out that nobody could renew."""
RENEW: Final = 1_000
GRACE: Final = RENEW + 1_000
SILENCE: Final = round(LEASE * 0.65)
SENDING: Final = 1_000
STEP: Final = 1_000
"""By less, a clock that is set back goes unnoticed."""


@dataclass
class Turns:
    """What the ledger knows of the calls of sweepers, in ms."""

    last: int = 0
    until: int = 0
    stopped: int = 0
    resumed: int = 0
    behind: int = 0

    def call(self, now: int) -> SweepTurn | None:
        """The turn, if it is free."""
        if now - self.last > QUIET:
            self.stopped, self.resumed = self.last, now
        if self.last > now + STEP:
            self.stopped = self.resumed = now
            self.behind += self.last - now
        self.last = now
        if now < self.until <= now + PERIOD:
            return None
        self.until = now + PERIOD
        return self.turn(now)

    def turn(self, now: int) -> SweepTurn:
        return SweepTurn(time=now / 1000, stopped=self.stopped / 1000, resumed=self.resumed / 1000)


@dataclass
class Sweeps:
    """Sweeps one ledger."""

    server: Server
    model: Model
    watch: Watch
    turns: Turns = field(default_factory=Turns)
    beats: dict[str, int] = field(default_factory=dict)

    def sweep(self, live: tuple[str, ...], empty: tuple[str, ...]) -> list[Dispatch]:
        """One sweep, after these workers have announced themselves; the messages that it sends."""
        if live:
            announce = operations.announce(KEYS.workers, {name: {} for name in live}, seconds=15)
            run(self.server, exchange.run(announce))
            self.beats |= dict.fromkeys(live, self.model.now)
        self.watch.state = self.server.state()
        expected = self._expected(empty)
        sent = self._sent(empty)
        self.watch.look(self.model)
        assert sent == expected, "the sweep sends other messages"
        return sent

    def _sent(self, empty: tuple[str, ...]) -> list[Dispatch]:
        turn: Any = run(self.server, exchange.run(operations.take_turn(KEYS, period=PERIOD / 1000)))
        if turn is None:
            return []
        conversation = sweeping.sweep(
            KEYS,
            turn,
            retention=RETENTION,
            lease=LEASE / 1000,
            renew=RENEW / 1000,
            empty_queues=empty,
            limit=500,
        )
        swept = run(self.server, conversation)
        assert isinstance(swept, Swept), swept
        return swept.dispatches

    def _expected(self, empty: tuple[str, ...]) -> list[Dispatch]:
        """Looks at all that is due or was overtaken, then again at those whose worker had to be asked for."""
        now = self.model.now
        turn = self.turns.call(now)
        if turn is None:
            return []
        passed = self._passed(empty)
        behind, self.turns.behind = self.turns.behind, 0
        found: dict[tuple[str, str], Looked] = {}
        for entry in self._to_look_at(passed, behind):
            at = parse_due_member(entry)
            self.watch.loose.add(entry.decode())
            found[at] = self.model.look(*at, turn=turn, grace=GRACE, worker="", passed=passed)
        unsure = {at: looked.detail for at, looked in found.items() if looked.outcome == "unsure"}
        for verdict in ("alive", "dead"):
            for at, worker in unsure.items():
                alive = -STEP <= now - self.beats.get(worker, 0) <= SILENCE
                if alive == (verdict == "alive"):
                    found[at] = self.model.look(*at, turn=turn, grace=GRACE, worker=verdict, passed=passed)
        return list(dict.fromkeys(looked.dispatch for looked in found.values() if looked.dispatch))

    def _passed(self, empty: tuple[str, ...]) -> dict[str, Passed]:
        """How far the queues are, as the deliveries say, which are hints; and those that are empty."""
        known = {}
        for queue in ALL_QUEUES:
            said = self.model.now if queue in empty else self.watch.state.content.get(KEYS.passed(queue))
            if said is not None and int(said) <= self.model.now:
                overtaken = queue not in empty and RESUME in empty
                known[queue] = Passed(int(said) - SENDING, RESUME if overtaken else queue)
        return known

    def _to_look_at(self, passed: dict[str, Passed], behind: int) -> list[bytes]:
        """Entries of `due` whose time has come, then those of jobs whose messages were passed."""
        content = self.watch.state.content
        due = content.get(KEYS.due, {})
        entries = [entry for score, entry in _sorted(due) if score - behind <= self.model.now]
        for queue, at in passed.items():
            waiting = _sorted(content.get(KEYS.sent(queue), {}))
            entries += [entry for sent, entry in waiting if sent - behind < at.before and entry in due]
        return list(dict.fromkeys(entries))


def _sorted(entries: dict[bytes, float]) -> list[tuple[float, bytes]]:
    """As Redis sorts them."""
    return sorted((score, entry) for entry, score in entries.items())
