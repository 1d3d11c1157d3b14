"""Repairs of text that arrives in deltas: halves of characters, and thinking hidden between tags."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

_MOST_BLANK = 1024
"""White space before a tag, in characters: a model that is lost says nothing else, without end."""
_HIGH_SURROGATES = range(0xD800, 0xDC00)


class SurrogateJoiner:
    """Makes one character of a surrogate pair that a provider's JSON split over two deltas.

    A half that never finds its other half comes out as U+FFFD: text that leaves here always encodes as UTF-8.
    """

    def __init__(self) -> None:
        self.held = ""

    def feed(self, text: str) -> str:
        """`text` behind what was held back, without a high surrogate at its end."""
        text = self.held + text
        self.held = ""
        if text and ord(text[-1]) in _HIGH_SURROGATES:
            self.held = text[-1]
            text = text[:-1]
        return repaired(text)

    def finish(self) -> str:
        """What is still held, made presentable."""
        text, self.held = self.held, ""
        return repaired(text)


def repaired(text: str) -> str:
    """Text that encodes as UTF-8: pairs of surrogates joined, single ones replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class DeltaText:
    """One kind of text of one answer: half characters joined, thinking between tags told apart if asked."""

    def __init__(self, splitter: ThinkSplitter | None = None, *, after: str = "") -> None:
        """`after`: the end of the text that exists already, which the answer may begin with once more."""
        self._joiner = SurrogateJoiner()
        self._splitter = splitter
        self._after = after

    @property
    def idle(self) -> bool:
        """Whether the next delta could pass unchanged: nothing is held back or looked for."""
        return not (self._joiner.held or self._after) and (self._splitter is None or self._splitter.over)

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """Pairs of (is thinking, text), in order, none of them empty."""
        text = self._joiner.feed(text)
        return self._split(self._unrepeated(text) if self._after else text)

    def finish(self) -> list[tuple[bool, str]]:
        """What was held back."""
        pairs = self._split(self._joiner.finish())
        return pairs if self._splitter is None else pairs + list(self._splitter.finish())

    def _unrepeated(self, text: str) -> str:
        pairs = zip(self._after, text, strict=False)
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._after = self._after[same:] if same == len(text) else ""
        return text[same:]

    def _split(self, text: str) -> list[tuple[bool, str]]:
        if not text:
            return []
        return [(False, text)] if self._splitter is None else list(self._splitter.feed(text))


class ThinkSplitter:
    """Splits `<think>…</think>` at the beginning of an answer from the answer, however the deltas cut the
    tags.

    Only leading whitespace may stand before the opening tag: a tag that the answer itself talks about
    stays text. With `opened` the prompt has it already, and the answer begins behind it.
    """

    OPEN = "<think>"
    CLOSE = "</think>"

    def __init__(self, *, opened: bool = False) -> None:
        self._untold = "thinking" if opened else "answer"  # what it is where no opening tag comes
        self._state = "before"
        self._held = ""

    @property
    def over(self) -> bool:
        """The answer itself has begun: no tag is looked for any more."""
        return self._state == "answer"

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """Pairs of (is thinking, text), in order, none of them empty."""
        text = self._held + text
        self._held = ""
        if self._state == "before":
            start = text.lstrip()
            if start.startswith(self.OPEN):
                self._state = "thinking"
                text = start[len(self.OPEN) :]
            elif self.OPEN.startswith(start) and len(text) <= _MOST_BLANK:
                self._held = text
                return
            else:
                self._state = self._untold
        if self._state == "thinking":
            thought, closed, text = text.partition(self.CLOSE)
            if closed:
                self._state = "answer"
            else:
                thought = self._without_partial_close(thought)
            if thought:
                yield True, thought
        if self._state == "answer" and text:
            yield False, text

    def finish(self) -> Iterator[tuple[bool, str]]:
        """What was held back because it could have become a tag."""
        if self._held:
            state = self._untold if self._state == "before" else self._state
            yield state == "thinking", self._held
        self._held = ""

    def _without_partial_close(self, thought: str) -> str:
        for size in range(min(len(self.CLOSE) - 1, len(thought)), 0, -1):
            if thought.endswith(self.CLOSE[:size]):
                self._held = thought[-size:]
                return thought[:-size]
        return thought
