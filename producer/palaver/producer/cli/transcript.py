"""Events as a person reads them in a terminal: the text as it comes, everything else as dim notes."""

import sys
from collections.abc import Callable
from typing import Any

from palaver.producer.cli.terminal import dim, harmless, note, one_line, seconds, write
from palaver.shared.errors import ErrorInfo, PalaverError
from palaver.shared.events import AnyEvent
from palaver.shared.responses import Usage


class Transcript:
    """Shows the events of one or more jobs in the order in which they come.

    With `headers` each job is announced when its events begin or go on; for a whole session.
    """

    def __init__(self, *, headers: bool = False) -> None:
        self._headers = headers
        self._job = ""
        self._style: str | None = None  # of the text that the line in progress belongs to
        self._with_text: set[str] = set()  # jobs of which text was shown
        self._show: dict[str, Callable[[AnyEvent, Any], None]] = {
            "job_queued": self._queued,
            "stream_start": self._started,
            "text_chunk": lambda event, data: self._text(event, data.delta),
            "reasoning_chunk": lambda event, data: self._text(event, data.delta, style="reasoning"),
            "resync": self._resynced,
            "retry": self._retried,
            "stream_end": self._ended,
        }

    def show(self, event: AnyEvent) -> None:
        """Write one event."""
        if self._headers and event.job_id not in ("", self._job):
            self._job = event.job_id
            self.aside(f"── job {event.job_id} ──")
        if show := self._show.get(event.type):
            show(event, event.data)
        elif line := describe(event):
            self.aside(line)

    def aside(self, text: str) -> None:
        """A dim note on a line of its own."""
        self.end_line()
        note(text)

    def end_line(self) -> None:
        """Finish the line in progress."""
        if self._style:
            write("\n")
        self._style = None

    def _text(self, event: AnyEvent, delta: str, *, style: str = "text") -> None:
        if not delta:
            return
        if self._style and self._style != style:
            write("\n\n")
        self._style = style
        self._with_text.add(event.job_id)
        text = harmless(delta)
        write(text if style == "text" else dim(text))

    def _queued(self, _event: AnyEvent, data: Any) -> None:
        if data.position:
            self.aside(f"waiting: {data.position} ahead in this session")

    def _started(self, event: AnyEvent, data: Any) -> None:
        if data.offset == 0 and event.job_id in self._with_text:
            self._with_text.discard(event.job_id)
            self.aside("── the answer begins anew ──")
        elif self._headers and data.offset == 0:
            self.aside(_model(data.provider, data.model))

    def _resynced(self, event: AnyEvent, data: Any) -> None:
        if event.job_id in self._with_text:
            self.aside("── the log no longer has what was missed; the whole answer so far ──")
        self._text(event, data.reasoning, style="reasoning")
        self._text(event, data.text)

    def _retried(self, _event: AnyEvent, data: Any) -> None:
        then = f" with {one_line(data.model)}" if data.model else ""
        again = f"again in {seconds(data.delay)}" if data.delay else "again at once"
        self.aside(f"{describe_error(data.error)}; {again}{then}")

    def _ended(self, _event: AnyEvent, data: Any) -> None:
        self.end_line()
        if not self._headers:
            return
        why = f": {describe_error(data.error)}" if data.error else ""
        tokens = describe_usage(data.usage)
        self.aside(f"{data.status}{why}" + (f" · {tokens}" if tokens else ""))


def describe(event: AnyEvent) -> str:
    """One line about an event that is no text; empty for one that needs no word."""
    data: Any = event.data
    match event.type:
        case "warning":
            return f"{data.param + ': ' if data.param else ''}{one_line(data.message or data.code)}"
        case "tool_call":
            return f"calls {one_line(data.name)} {one_line(str(data.arguments))}"
        case "tool_result":
            return f"{'failed' if data.is_error else 'answered'}: {one_line(str(data.content))}"
        case "content":
            return f"[{one_line(data.content_type)}]"
        case "widget":
            return f"[{one_line(data.widget_type)}]"
        case "progress":
            total = f"/{data.total}" if data.total is not None else ""
            return f"{data.done}{total} {one_line(data.message or '')}".rstrip()
    return f"[{one_line(event.type)}]"


def describe_error(error: ErrorInfo | PalaverError) -> str:
    """`RateLimitError: why` in one line, to be gone on with."""
    return f"{one_line(error.type)}: {one_line(error.message).rstrip('.')}"


def describe_usage(usage: Usage | None) -> str:
    """`12 + 34 tokens, $0.000120` (in + out) as far as they are known."""
    if usage is None:
        return ""
    tokens = _tokens(usage)
    if usage.estimated and tokens:
        tokens = f"about {tokens}"
    cost = f"${usage.cost:.6f}" if usage.cost is not None else ""
    return ", ".join(filter(None, [tokens, cost, "from the cache" if usage.from_cache else ""]))


def _tokens(usage: Usage) -> str:
    if usage.input_tokens is not None and usage.output_tokens is not None:
        return f"{usage.input_tokens} + {usage.output_tokens} tokens"
    return f"{usage.total_tokens} tokens" if usage.total_tokens is not None else ""


def _model(provider: str | None, model: str | None) -> str:
    return "/".join(one_line(name) for name in (provider, model) if name)


def live() -> bool:
    """Whether a person watches stdout."""
    return sys.stdout.isatty()
