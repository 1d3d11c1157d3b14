"""The conversation with Redis without I/O: what to send next, given what came back.

Each function is a generator: it yields the words of the commands to send in one go, is sent their raw
replies in order (error replies as exceptions), and returns the result. The async and the sync shell drive
the same generators.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from palaver.shared.errors import PalaverError
from palaver.shared.ledger.operation import Argument, Operation, Query, R
from palaver.shared.ledger.operations.reading import checked, decode_query
from palaver.shared.ledger.scripts import sources

Words = tuple[Argument, ...]
Exchange = Generator[list[Words], list[Any], R]

BATCH = 200
"""Operations sent in one go: enough to hide the round trip, little enough to bound the buffers."""


@dataclass(frozen=True, slots=True)
class Done(Generic[R]):
    """A conversation is over, and this came of it."""

    result: R


def step(conversation: Exchange[R], replies: list[Any] | None) -> list[Words] | Done[R]:
    """What to send next, given these replies; None begins. For shells that take a step in another thread, out
    of which no StopIteration can be raised.
    """
    try:
        return next(conversation) if replies is None else conversation.send(replies)
    except StopIteration as stop:
        return Done(stop.value)


def check() -> Exchange[None]:
    """Ask whether Redis answers."""
    replies = yield [("PING",)]
    checked(replies[0])


def query(query: Query[R]) -> Exchange[R]:
    """Run a query."""
    replies = yield from _sent([command.words for command in query.commands])
    return decode_query(query, replies)


def query_many(queries: Sequence[Query[R]]) -> Exchange[list[R]]:
    """Run independent queries in few round trips."""
    results: list[R] = []
    for start in range(0, len(queries), BATCH):
        batch = queries[start : start + BATCH]
        replies = iter((yield from _sent([command.words for each in batch for command in each.commands])))
        results += [decode_query(each, [next(replies) for _ in each.commands]) for each in batch]
    return results


def run(operation: Operation[R]) -> Exchange[R]:
    """Run one operation; raises its verdict."""
    raw = (yield from _scripts([operation]))[0]
    return operation.decode(raw)


def run_many(operations: Sequence[Operation[R]]) -> Exchange[list[R | PalaverError]]:
    """Run independent operations, in their order; a verdict is that operation's result.

    The first goes alone, with its script if the server does not know that: were it to learn the script from
    somebody else in the middle of many, those after that would be done before those that are sent again.
    """
    results: list[R | PalaverError] = []
    for start in [0, *range(1, len(operations), BATCH)] if operations else ():
        batch = operations[start : start + BATCH if start else 1]
        raws = yield from _scripts(batch)
        for operation, raw in zip(batch, raws, strict=True):
            results.append(_result(operation.decode, raw))
    return results


def _result(decode: Callable[[Any], R], raw: Any) -> R | PalaverError:
    try:
        return decode(raw)
    except PalaverError as verdict:
        return verdict


def _scripts(operations: Sequence[Operation[R]]) -> Exchange[list[Any]]:
    """The raw replies of the scripts, with what goes before and after them."""
    first: list[Words] = []
    for operation in operations:
        first += [command.words for command in operation.before]
        first.append(operation.evalsha())
    replies = iter((yield from _sent(first)))
    raws = []
    for operation in operations:
        before = [next(replies) for _ in operation.before]
        raw = next(replies)
        refused = next((reply for reply in before if isinstance(reply, Exception)), None)
        raws.append(raw if refused is None else refused)
    after = [
        command.words
        for operation, raw in zip(operations, raws, strict=True)
        if not isinstance(raw, Exception)
        for command in operation.after(raw)
    ]
    if after:
        # Refusals are not looked at: these are hints for sweepers, and a full Redis refuses some of them.
        yield from _sent(after)
    return raws


def _sent(commands: list[Words]) -> Exchange[list[Any]]:
    """The replies to commands.

    From the first script on that the server does not know by its hash, e.g. after a restart, everything is
    sent again in its order, the first call of such a script with its source: EVAL also loads it. So each
    round trip gets further, however often somebody makes the server forget.
    """
    replies = yield commands
    while unknown := [place for place, reply in enumerate(replies) if _unknown(reply)]:
        first, missing = unknown[0], {str(commands[place][1]) for place in unknown}
        replies = replies[:first] + (yield _with_sources(commands[first:], missing))
    return replies


def _with_sources(commands: list[Words], missing: set[str]) -> list[Words]:
    """The commands, with the source in the first call of each of these scripts."""
    left, found = dict.fromkeys(missing), []
    for words in commands:
        whole = words[0] == "EVALSHA" and words[1] in left
        if whole:
            del left[str(words[1])]
        found.append(("EVAL", sources()[str(words[1])], *words[2:]) if whole else words)
    return found


def _unknown(raw: Any) -> bool:
    # redis-py cuts the word off and makes a class of it, hiredis alone leaves it in the message.
    return isinstance(raw, Exception) and (
        type(raw).__name__ == "NoScriptError" or str(raw).startswith("NOSCRIPT")
    )
