"""A long answer as its caller sees it: continues as they happen, and what follows when one has failed; pure.

The worker continues a truncated answer by itself. Only where the caller's own function says "retry" after a
continue that failed, a second job goes on behind the text of the first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypedDict

from palaver.producer.interfaces.calls import CallDefaults, ChatOptions, HistoryLike, StreamOptions
from palaver.producer.prepare import JobFields
from palaver.shared.accumulator import Accumulator
from palaver.shared.errors import JobError, PalaverError
from palaver.shared.events import AnyEvent, Progress
from palaver.shared.jobs import Completion, FinishReason, Status
from palaver.shared.messages import Message, MessagesLike, Role, ToolCall, parse_messages
from palaver.shared.plain import refuse, require, shape
from palaver.shared.responses import ChatResponse, ChatResult, StreamChunk, Usage

log = logging.getLogger("palaver.producer")

CONTINUE: Final = "continue"
"""What `progress` says where it is one of a continue."""

OnProgress = Callable[[int, int, ChatResult, list[ChatResult]], object]
"""Called with `(count, max_count, current_result, all_results)` before each continue; of the results there
are the texts.
"""

OnError = Callable[[PalaverError, ChatResult], Mapping[str, Any]]
"""Called with `(error, partial)` after a continue that failed; returns `{"action": …, "result": …}`, where
the action is `raise`, `return_partial` (with the result, if there is one) or `retry`.
"""


class CompletionOptions(TypedDict, total=False):
    """How an answer is completed; see `palaver.shared.jobs.Completion`."""

    max_continues: int
    ensure_complete: bool
    continue_prompt: str | Mapping[str, str] | Callable[[int, int, str, str], str]
    continue_delay: float | tuple[float, float]
    on_error: Literal["raise", "return_partial"]
    on_progress: OnProgress | None
    on_error_callback: OnError | None


class CompleteOptions(ChatOptions, CompletionOptions, total=False):
    """What `Chat.complete` takes."""


class CompleteStreamOptions(StreamOptions, CompletionOptions, total=False):
    """What `Chat.complete_stream` takes."""


_OF_CALLER: Final = ("on_progress", "on_error_callback")


class LongAnswer:
    """What the jobs of one call add up to: one as a rule. Raises ValidationError for wrong options."""

    def __init__(
        self,
        defaults: CallDefaults,
        kind: type,
        messages: MessagesLike,
        history: HistoryLike | None,
        options: Mapping[str, Any],
    ) -> None:
        of_call = {k: v for k, v in options.items() if k not in CompletionOptions.__annotations__}
        completion = {k: v for k, v in options.items() if k not in of_call and k not in _OF_CALLER}
        self._on_progress: OnProgress | None = options.get("on_progress")
        self._on_error: OnError | None = options.get("on_error_callback")
        for name in _OF_CALLER:
            require(name, options.get(name), Callable | None, "a function")
        self._prompt = completion.get("continue_prompt", "continue")
        self._complete = Completion.validated(completion, at="complete")
        if self._on_error is not None:
            self._complete = self._complete.model_copy(update={"on_error": "raise"})
            if isinstance(self._prompt, Mapping):
                refuse("continue_prompt", "must be text or the function itself beside on_error_callback")
        self._asked = parse_messages(messages)
        self.messages = list(self._asked)  # of the next job
        self._fields = defaults.fields(kind, of_call, history)
        self._state = _Continues()
        self._before: ChatResponse | None = None  # what the jobs before this one have said
        self._results: list[ChatResult] = []  # of the finished requests
        self._final: ChatResponse | None = None
        self._failure: PalaverError | None = None

    @property
    def fields(self) -> JobFields:
        """The fields of the next job."""
        left = self._complete.model_copy(update={"max_continues": self._left})
        return {**self._fields, "complete": left}

    @property
    def _left(self) -> int:
        return max(0, self._complete.max_continues - len(self._results))

    def follow(self, job_id: str) -> Accumulator:
        """The state of the next job, to be fed with its events."""
        self._state = _Continues(job_id, self._continued)
        return self._state

    def after(self, error: PalaverError) -> bool:
        """Whether another job follows one that ended with this error. Raises what says nothing of its end."""
        if not self._state.done:
            raise error
        asked = self._state.status is Status.FAILED and not isinstance(error, JobError)
        if self._on_error is None or not asked or not self._results:
            self._failure = error
            return False
        return self._decided(error, self._on_error(error, ChatResult.of(self._truncated())))

    def _decided(self, error: PalaverError, decision: Mapping[str, Any]) -> bool:
        action = decision.get("action") if isinstance(decision, Mapping) else None
        if action == "raise":
            self._failure = error
        elif action == "return_partial":
            self._final = _response(decision.get("result")) or self._truncated()
        elif action == "retry":
            self._go_on()
            return True
        else:
            told = shape(decision if action is None else action)
            refuse("on_error_callback", f"must return an action: raise, return_partial or retry, not {told}")
        return False

    def _go_on(self) -> None:
        self._before = self._truncated()
        said = Message(role=Role.ASSISTANT, content=self._before.content)
        self.messages = [*self._asked, said, Message(role=Role.USER, content=self._next_prompt())]

    def _next_prompt(self) -> str:
        if not callable(self._prompt):
            return str(self._prompt)
        asked = [message.text for message in self._asked if message.role is Role.USER]
        original = asked[-1] if asked else ""
        return str(self._prompt(len(self._results), self._complete.max_continues, self.text, original))

    def _continued(self, text: str) -> None:
        result = ChatResult(text=text, finish_reason=FinishReason.LENGTH)
        self._results.append(result)
        if self._on_progress is None:
            return
        try:
            self._on_progress(len(self._results), self._complete.max_continues, result, list(self._results))
        except Exception as error:  # noqa: BLE001 - it is not our code, and the answer goes on
            log.warning("on_progress_failed error=%s", type(error).__name__)

    def last_chunk(self) -> StreamChunk:
        """The end of the stream."""
        return StreamChunk(
            self._state.seq, done=True, finish_reason=self.finish_reason, usage=self.response.usage
        )

    def check(self) -> None:
        """Raises the error of an answer that failed, with all that there is of it."""
        if self._failure is not None:
            self._failure.response = self.response
            raise self._failure

    @property
    def text(self) -> str:
        """All text so far."""
        if self._final is not None:
            return self._final.content
        return (self._before.content if self._before else "") + self._state.text

    @property
    def reasoning(self) -> str:
        """All thoughts so far."""
        if self._final is not None:
            return self._final.reasoning or ""
        return ((self._before.reasoning if self._before else "") or "") + self._state.reasoning

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls that nobody has answered."""
        return self._state.tool_calls if self._final is None else self._final.tool_calls

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped last."""
        return self._state.finish_reason if self._final is None else self._final.finish_reason

    @property
    def usage(self) -> Usage | None:
        """The tokens of all requests, known at the end."""
        return self.response.usage if self.done else None

    @property
    def done(self) -> bool:
        """Whether nothing will follow."""
        return self._final is not None or self._state.done

    @property
    def response(self) -> ChatResponse:
        """The response so far; whole when `done`."""
        if self._final is not None:
            return self._final
        return self._state.response if self._before is None else _joined(self._before, self._state.response)

    def _truncated(self) -> ChatResponse:
        """All that was said, as an answer that is not whole."""
        return _joined(ChatResponse(), self.response).model_copy(
            update={"success": True, "error": None, "error_info": None, "finish_reason": FinishReason.LENGTH}
        )


class _Continues(Accumulator):
    """A job's state that tells of each continue, with the text of the request before it, once."""

    def __init__(self, job_id: str | None = None, told: Callable[[str], None] | None = None) -> None:
        super().__init__(job_id)
        self.count = 0
        self._told = told
        self._begun = 0  # where the text of the last request begins

    def feed(self, event: AnyEvent) -> tuple[StreamChunk, ...]:
        chunks = super().feed(event)
        if event.job_id != self.job_id:
            return chunks
        if isinstance(event, Progress) and event.data.message == CONTINUE:
            text, self._begun = self.text[self._begun :], len(self.text)
            # after a restart the finished requests are told once more
            if event.data.done > self.count and self._told is not None:
                self.count = event.data.done
                self._told(text)
        return chunks


def _joined(one: ChatResponse, other: ChatResponse) -> ChatResponse:
    """Two responses as one: texts with nothing between, usage summed, all else the later one's."""
    usage = one.usage.plus(other.usage) if one.usage is not None else other.usage
    update = {
        "content": one.content + other.content,
        "reasoning": ((one.reasoning or "") + (other.reasoning or "")) or None,
        "usage": usage,
    }
    return ChatResponse.validated({**dict(other), **update})  # which tells the usage in its metadata too


def _response(result: object) -> ChatResponse | None:
    if result is None or isinstance(result, ChatResponse):
        return result
    if not isinstance(result, ChatResult):
        refuse("on_error_callback", f"must return a ChatResult as its result, not {shape(result)}")
    return ChatResponse(
        content=result.text,
        usage=result.usage,
        finish_reason=result.finish_reason,
        tool_calls=result.tool_calls,
        reasoning=result.reasoning,
        model=result.model_name,
        raw=result.raw,
    )
