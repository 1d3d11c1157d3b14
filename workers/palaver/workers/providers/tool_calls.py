"""Tool-call fragments of a stream, merged into whole calls."""

import hashlib
import json
from typing import Any, Final

from palaver.shared.plain import plain_object
from palaver.workers.providers.parts import ToolCallPart, WarningPart
from palaver.workers.providers.text import repaired

_COST: Final = 16 * 1024
"""What a call counts beside its characters: each is told, run and answered. The default bound: a thousand."""


_MOST_LOOKED_AT: Final = 1024 * 1024
"""Characters of a call that are parsed to find out whether it is whole: pieces may end in a bracket each."""
_LONGEST_NAME: Final = 1024
"""Of a tool, in characters, when it comes in pieces: no tool has such a name."""


class _Call:
    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self._length = 0  # of the arguments
        self._looked_at = 0  # of _MOST_LOOKED_AT

    def take(self, call_id: str | None, name: str | None, arguments: Any) -> None:
        self.id = self.id or call_id or ""
        # Some servers repeat id and name with every fragment, a few send the name in pieces.
        if name and name != self.name and len(self.name) < _LONGEST_NAME:
            self.name += name
        if isinstance(arguments, dict):
            self.arguments, self._length = [], 0
            arguments = json.dumps(arguments, ensure_ascii=False)
        if isinstance(arguments, str) and arguments and not self._repeats(arguments):
            self.arguments.append(arguments)
            self._length += len(arguments)

    @property
    def size(self) -> int:
        """Characters that are kept, and what keeping them costs."""
        return _COST + len(self.id) + len(self.name) + self._length + len(self.arguments)

    def _repeats(self, arguments: str) -> bool:
        # The whole call once more, as the last fragment, must not double what is already complete. Its length
        # is compared first: to join the pieces for each fragment would take a worker's time.
        return len(arguments) == self._length and arguments[0] == "{" and arguments == "".join(self.arguments)

    def is_before(self, call_id: str | None, name: str | None, arguments: Any) -> bool:
        """Whether a fragment at the same index begins another call: some servers send each whole, all of them
        without ids at the index 0.
        """
        if call_id or self.id or not name or not self.arguments or not self.arguments[-1].endswith("}"):
            return False
        said = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return not self._repeats(said or " ") and self._is_whole()

    def _is_whole(self) -> bool:
        """Whether the arguments are: found at once of a call that comes in one piece."""
        if self._looked_at > _MOST_LOOKED_AT:
            return False
        self._looked_at += self._length
        return isinstance(_parsed("".join(self.arguments)), dict)


class ToolCallMerger:
    """Merges by index; by id where the index is missing, or where one index carries a second id. Without ids
    a name begins another call at an index whose call is whole.
    """

    def __init__(self) -> None:
        self.size = 0  # characters that are kept, about
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def feed(self, index: int | None, call_id: str | None, name: str | None, arguments: Any) -> None:
        """Take one fragment; every field but the first one's name may be missing."""
        call = self._find(index, call_id, name, arguments)
        before = call.size
        call.take(call_id, name, arguments)
        self.size += call.size - before
        if call.id:
            self._by_id.setdefault(call.id, call)

    def _find(self, index: int | None, call_id: str | None, name: str | None, arguments: Any) -> _Call:
        found = self._by_index.get(index) if index is not None else self._without_index(call_id, name)
        if found is not None and index is not None and found.is_before(call_id, name, arguments):
            found = None
        if found is not None and call_id and found.id and found.id != call_id:
            found = self._by_id.get(call_id)
        if found is None:
            found = _Call()
            self.size += found.size
            self._calls.append(found)
        if index is not None:
            self._by_index[index] = found
        return found

    def _without_index(self, call_id: str | None, name: str | None) -> _Call | None:
        last = self._calls[-1] if self._calls else None
        if call_id:
            return self._by_id.get(call_id)
        # Without index and id, a name begins a new call once the last one has its arguments.
        if last is not None and name and last.arguments:
            return None
        return last

    def finish(self, *, truncated: bool) -> list[ToolCallPart | WarningPart]:
        """Every call, once, in the order in which they began.

        `truncated`: the answer ended at its length limit, so a call whose arguments are not whole is left
        out; the last one also if it has none, for they may have been to come.
        """
        parts: list[ToolCallPart | WarningPart] = []
        for position, call in enumerate(self._calls):
            arguments, name = _parsed(repaired("".join(call.arguments))), repaired(call.name)
            unbegun = not call.arguments and position == len(self._calls) - 1
            if truncated and (unbegun or isinstance(arguments, str)):
                message = f"The answer reached its length limit inside the call of {name!r}; it is left out."
                parts.append(WarningPart("tool_call_truncated", message))
            else:
                parts.append(ToolCallPart(repaired(call.id) or _made_id(position, call), name, arguments))
        self._calls = []
        return parts


def _parsed(text: str) -> dict[str, Any] | str:
    if not text.strip():
        return {}
    try:
        # plain_object refuses what the ledger could not hold: half surrogates, NaN, endless nesting
        return plain_object(json.loads(text, strict=False))
    except (ValueError, RecursionError):
        return text


def _made_id(position: int, call: _Call) -> str:
    # Some servers send none. Derived, so that decoding the same bytes again names the same call.
    seed = f"{position}\0{call.name}\0{''.join(call.arguments)}"
    return "call_" + hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()[:24]
