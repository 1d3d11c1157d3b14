"""A job as a response of OpenAI's API, whole and as events; pure.

https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from palaver.producer.gateway.faults import openai_error
from palaver.producer.gateway.marks import BACKGROUND, PREVIOUS, UNSTORED, theirs
from palaver.producer.gateway.openai.responses_request import Kept, text_format
from palaver.shared.accumulator import end_error
from palaver.shared.errors import PalaverError
from palaver.shared.jobs import ChatJob, FinishReason, Status
from palaver.shared.messages import Message, Part, Role, TextPart, ToolCall
from palaver.shared.responses import ChatResponse, Usage

Json = dict[str, Any]

PREFIX: Final = "resp_"
_STATUS: Final = {
    Status.QUEUED: "queued",
    Status.RUNNING: "in_progress",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
    Status.EXPIRED: "failed",
}


def draft(job_id: str, created: float, job: ChatJob) -> Json:
    """The response before anything was answered, with what was asked for."""
    params = job.params
    effort = job.reasoning.effort if job.reasoning else None
    return {
        "id": f"{PREFIX}{job_id}",
        "object": "response",
        "created_at": int(created),
        "status": "queued",
        "background": bool(job.metadata.get(BACKGROUND)),
        "error": None,
        "incomplete_details": None,
        "instructions": job.system,
        "max_output_tokens": params.max_tokens,
        "metadata": theirs(job.metadata),
        "model": ",".join(job.models) or "default",
        "output": [],
        "parallel_tool_calls": job.parallel_tool_calls is not False,
        "previous_response_id": job.metadata.get(PREVIOUS),
        "reasoning": {"effort": effort, "summary": None},
        "store": not job.metadata.get(UNSTORED),
        "temperature": params.temperature,
        "text": _text_options(job),
        "tool_choice": job.tool_choice.to_dict() if job.tool_choice else "auto",
        "tools": [{"type": "function", **tool.to_dict()["function"]} for tool in job.tools or ()],
        "top_p": params.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": params.user,
    }


def _text_options(job: ChatJob) -> Json:
    verbosity = job.params.extra.get("verbosity")
    told = {"format": text_format(job.params.response_format)}
    return told if verbosity is None else {**told, "verbosity": verbosity}


def whole(kept: Kept) -> Json:
    """The response as it is now."""
    view = kept.view
    begun = draft(view.job_id, view.created, kept.job)
    begun["status"] = _STATUS[view.status]
    if view.status is Status.COMPLETED:
        return completed(begun, view.response or ChatResponse(content=view.text))
    if view.status.ended:
        return failed(begun, end_error(view.status, view.error, job_id=view.job_id), view.status)
    return begun


def completed(begun: Json, response: ChatResponse) -> Json:
    """The response with its answer."""
    done = {**begun, "status": "completed"}
    if response.finish_reason in (FinishReason.LENGTH, FinishReason.CONTENT_FILTER):
        short = response.finish_reason is FinishReason.LENGTH
        done["status"] = "incomplete"
        done["incomplete_details"] = {"reason": "max_output_tokens" if short else "content_filter"}
    return {**done, "output": _output(begun["id"], response), "usage": _usage(response.usage)}


def failed(begun: Json, error: PalaverError | None, status: Status) -> Json:
    """The response that has none."""
    told = None
    if error is not None and status is not Status.CANCELLED:
        told = {"code": "server_error", "message": openai_error(error)["message"]}
    return {**begun, "status": _STATUS[status], "error": told}


class ResponseDialect:
    """Tells one response as events, numbered from 0 without a gap. All are made each time, since what one
    says depends on those before; who comes back is told those `after` the number that he had last.
    """

    def __init__(self, begun: Json, *, after: int = -1) -> None:
        self._begun = begun
        self._after = after
        self._number = -1  # of the last event
        self._id = begun["id"]
        self._items: list[Json] = []  # what is told, or was
        self._text: list[str] = []
        self._open: str | None = None

    def created(self) -> bytes:
        """There is such a response. Called once, before all else."""
        told = self._event("response.created", response=self._begun)
        return (
            told + self._event("response.queued", response=self._begun) if self._begun["background"] else told
        )

    def begin(self, model: str) -> bytes:
        """See `Dialect`."""
        self._begun = {**self._begun, "status": "in_progress"}
        return self._event("response.in_progress", response=self._begun)

    def resynced(self) -> None:
        """What was told now stands for events that nobody can number any more: the next ones are above all
        that whoever came back may have had.
        """
        self._number = max(self._number, self._after)

    def text(self, delta: str) -> bytes:
        """See `Dialect`."""
        return self._into("message") + self._delta("response.output_text.delta", delta)

    def reasoning(self, delta: str) -> bytes:
        """See `Dialect`."""
        return self._into("reasoning") + self._delta("response.reasoning_text.delta", delta)

    def thought(self, block: Mapping[str, Any], length: int) -> bytes:
        """See `Dialect`. Nobody asks for it here."""
        return b""

    def end(self, response: ChatResponse) -> bytes:
        """See `Dialect`."""
        pieces = [self._close()]
        for call in response.tool_calls:
            item = _function_call(call)
            place = {"output_index": len(self._items), "item_id": item["id"]}
            self._items.append(item)
            pieces += [
                self._event("response.output_item.added", **_place(place), item={**item, "arguments": ""}),
                self._event("response.function_call_arguments.delta", **place, delta=item["arguments"]),
                self._event(
                    "response.function_call_arguments.done",
                    **place,
                    name=item["name"],
                    arguments=item["arguments"],
                ),
                self._event("response.output_item.done", **_place(place), item=item),
            ]
        done = {**completed(self._begun, response), "output": self._items}
        kind = "incomplete" if done["status"] == "incomplete" else "completed"
        return b"".join([*pieces, self._event(f"response.{kind}", response=done)])

    def failed(self, error: PalaverError) -> bytes:
        """See `Dialect`."""
        status = Status.CANCELLED if error.code == "job_cancelled" else Status.FAILED
        return self._event("response.failed", response=failed(self._begun, error, status))

    def _delta(self, kind: str, delta: str) -> bytes:
        self._text.append(delta)
        item = self._items[-1]
        more: Json = {"logprobs": []} if self._open == "message" else {}
        return self._event(
            kind, item_id=item["id"], output_index=len(self._items) - 1, content_index=0, delta=delta, **more
        )

    def _into(self, kind: str) -> bytes:
        if self._open == kind:
            return b""
        closed = self._close()
        item = _message(self._id, "") if kind == "message" else _reasoning(self._id, "")
        item |= {"id": f"{item['id']}_{len(self._items)}", "status": "in_progress"}
        part, item["content"] = item["content"][0], []
        self._items.append(item)
        self._open = kind
        index = len(self._items) - 1
        added = self._event("response.output_item.added", output_index=index, item=item)
        return closed + added + self._part_event("added", part)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        kind, self._open = self._open, None
        text, self._text = "".join(self._text), []
        item = self._items[-1]
        whole = _message(self._id, text) if kind == "message" else _reasoning(self._id, text)
        item |= {"content": whole["content"], "status": "completed"}
        place = {"item_id": item["id"], "output_index": len(self._items) - 1, "content_index": 0}
        more: Json = {"logprobs": []} if kind == "message" else {}
        name = "output_text" if kind == "message" else "reasoning_text"
        return b"".join(
            (
                self._event(f"response.{name}.done", **place, text=text, **more),
                self._part_event("done", whole["content"][0]),
                self._event("response.output_item.done", output_index=place["output_index"], item=item),
            )
        )

    def _part_event(self, what: str, part: Json) -> bytes:
        index = len(self._items) - 1
        return self._event(
            f"response.content_part.{what}",
            item_id=self._items[-1]["id"],
            output_index=index,
            content_index=0,
            part=part,
        )

    def _event(self, kind: str, **data: Any) -> bytes:
        self._number += 1
        if self._number <= self._after:
            return b""
        told = {"type": kind, "sequence_number": self._number, **data}
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps(told))


def _output(name: str, response: ChatResponse) -> list[Json]:
    items = [_reasoning(name, response.reasoning)] if response.reasoning else []
    items += [_message(name, response.content)] if response.content else []
    for number, item in enumerate(items):
        item["id"] = f"{item['id']}_{number}"
    return items + [_function_call(call) for call in response.tool_calls]


def input_items(job: ChatJob) -> list[Json]:
    """What a response was asked with, in order, as items with ids."""
    items = [item for message in job.messages for item in _items(message)]
    return [{"id": f"{_KINDS[item['type']]}_{job.job_id}_in_{n}", **item} for n, item in enumerate(items)]


_KINDS: Final = {"message": "msg", "function_call": "fc", "function_call_output": "fco"}


def _items(message: Message) -> Iterator[Json]:
    if message.role is Role.TOOL:
        output = {"call_id": message.tool_call_id, "output": message.text, "status": "completed"}
        yield {"type": "function_call_output", **output}
        return
    if message.content:
        kind = "output_text" if message.role is Role.ASSISTANT else "input_text"
        parts = message.content if isinstance(message.content, list) else [TextPart(text=message.content)]
        content = [_input_part(part, kind) for part in parts]
        yield {"type": "message", "role": str(message.role), "status": "completed", "content": content}
    for call in message.tool_calls or ():
        named = _function_call(call)
        yield {name: named[name] for name in ("type", "status", "call_id", "name", "arguments")}


def _input_part(part: Part, kind: str) -> Json:
    if isinstance(part, TextPart):
        more: Json = {"annotations": []} if kind == "output_text" else {}
        return {"type": kind, "text": part.text, **more}
    return {"type": "input_image", "detail": part.image_url.detail or "auto", "image_url": part.image_url.url}


def _message(name: str, text: str) -> Json:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item = f"msg_{name.removeprefix(PREFIX)}"
    return {"id": item, "type": "message", "status": "completed", "role": "assistant", "content": [part]}


def _reasoning(name: str, text: str) -> Json:
    item = f"rs_{name.removeprefix(PREFIX)}"
    content = [{"type": "reasoning_text", "text": text}]
    return {"id": item, "type": "reasoning", "status": "completed", "summary": [], "content": content}


def _function_call(call: ToolCall) -> Json:
    arguments = call.arguments
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": text,
    }


def _usage(spent: Usage | None) -> Json | None:
    if spent is None:
        return None
    return {
        "input_tokens": spent.input_tokens or 0,
        "input_tokens_details": {"cached_tokens": 0, **(_details(spent, "prompt_tokens_details"))},
        "output_tokens": spent.output_tokens or 0,
        "output_tokens_details": {"reasoning_tokens": 0, **(_details(spent, "completion_tokens_details"))},
        "total_tokens": spent.total_tokens or 0,
    }


def _details(spent: Usage, name: str) -> Json:
    found = spent.details.get(name)
    return found if isinstance(found, dict) else {}


def _place(place: Json) -> Json:
    return {"output_index": place["output_index"]}
