"""A request to OpenAI's responses as fields of a job; pure.

https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from palaver.producer.gateway.marks import BACKGROUND, PREVIOUS, UNSTORED
from palaver.producer.gateway.openai.responses_body import (
    CallItem,
    Item,
    MessageItem,
    OutputItem,
    Part,
    Prompt,
    ResponsesRequest,
    TextPart,
    Tool,
)
from palaver.producer.gateway.shapes import Json
from palaver.shared.errors import JobNotFinishedError, ValidationError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import JobView
from palaver.shared.plain import refuse

_PARAMS: Final = {
    "max_output_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "user": "user",
}
_EXTRA: Final = "params.extra."
_LOGPROBS: Final = "message.output_text.logprobs"


def job_fields(body: ResponsesRequest) -> Json:
    """The fields of the job. Raises ValidationError for what would be another request if it were ignored;
    what is not known here goes to the provider as it is.
    """
    _check(body)
    extra = body.others
    if body.text is not None and body.text.verbosity is not None:
        extra["verbosity"] = body.text.verbosity
    given = {ours: getattr(body, theirs) for theirs, ours in _PARAMS.items()}
    params: Json = {name: value for name, value in given.items() if value is not None}
    params["extra"] = extra
    form = body.text.format if body.text is not None else None
    if form is not None:
        params |= _format(form)
    return {**prompt_fields(body), "metadata": body.metadata or {}, "params": params}


def marks(body: ResponsesRequest) -> Json:
    """What its job's metadata is to say of a response, for later."""
    given = {BACKGROUND: body.background, UNSTORED: body.store is False, PREVIOUS: body.previous_response_id}
    return {name: value for name, value in given.items() if value}


def prompt_fields(body: Prompt) -> Json:
    """Those of them that a model is told. Raises ValidationError."""
    fields: Json = {"model": body.model, "messages": list(_messages(body))}
    if body.tools:
        fields["tools"] = [_tool(tool, f"tools[{n}]") for n, tool in enumerate(body.tools)]
    if body.reasoning is not None and body.reasoning.effort is not None:
        effort = body.reasoning.effort
        fields["reasoning"] = False if effort == "none" else {"effort": effort}
    more = {
        "system": body.instructions,
        "parallel_tool_calls": body.parallel_tool_calls,
        "tool_choice": body.tool_choice,
    }
    return fields | {name: value for name, value in more.items() if value is not None}


def place(param: str) -> str:
    """Where in the request a field of the job was given."""
    if param.startswith("messages"):
        return "input" + param.removeprefix("messages")
    if param.startswith("history"):
        return "previous_response_id"
    if param.startswith(_EXTRA):
        return param.removeprefix(_EXTRA)
    name = param.removeprefix("params.")
    return {ours: theirs for theirs, ours in _PARAMS.items()}.get(name, name)


@dataclass(frozen=True, slots=True)
class Kept:
    """A response as the ledger has it: how it stands, and the job that was asked."""

    view: JobView
    job: ChatJob


def history_of(previous: Kept | None, most: int) -> list[Json] | None:
    """What was said up to the end of a response, to go on from there; None where none goes before. Raises
    JobNotFinishedError, and ValidationError for one that has no answer, and for more than `most` messages:
    each job of a chain has all of them, so that two may go on from one, and what a chain takes in the ledger
    grows with the square of its length.
    """
    if previous is None:
        return None
    view, response = previous.view, previous.view.response
    if not view.status.ended:
        raise JobNotFinishedError(f"The response of job {view.job_id} has not ended.", job_id=view.job_id)
    if response is None:
        raise ValidationError(
            "previous_response_id: has no answer to go on from", param="previous_response_id"
        )
    answer: Json = {"role": "assistant", "content": response.content}
    if response.tool_calls:
        answer["tool_calls"] = [call.model_dump(mode="json") for call in response.tool_calls]
    told = [*_said(previous.job), answer]
    if len(told) > most:
        refuse(
            "previous_response_id",
            f"goes back over {len(told)} messages, and at most {most} (PALAVER_HISTORY_MESSAGES) are "
            "carried on: begin anew with those that matter, or say it in a session",
        )
    return told


def _check(body: ResponsesRequest) -> None:
    for name in ("conversation", "prompt", "max_tool_calls"):
        if getattr(body, name) is not None:
            refuse(name, "is not offered")
    if body.truncation == "auto":
        refuse("truncation", "must be disabled: nothing of the input is left out")
    if body.top_logprobs or _LOGPROBS in (body.include or ()):
        refuse("include", "must not ask for logprobs: an answer's probabilities are not kept")
    if body.background and body.store is False:
        refuse("store", "must not be false in the background: nobody could ask for the answer")


def _said(job: ChatJob) -> Iterator[Json]:
    history = job.history if isinstance(job.history, list) else []
    for message in (*history, *job.messages):
        yield message.model_dump(mode="json", exclude_unset=True)


def _messages(body: Prompt) -> Iterator[Json]:
    """As messages: calls that follow each other, or the words before them, are one answer's."""
    if isinstance(body.input, str):
        yield {"role": "user", "content": body.input}
        return
    answer: Json | None = None
    for item in body.input:
        if isinstance(item, CallItem):
            answer = answer or {"role": "assistant", "content": None}
            call = {"id": item.call_id, "name": item.name, "arguments": item.arguments}
            answer.setdefault("tool_calls", []).append(call)
            continue
        message = _message(item)
        if message is None:
            continue
        if answer is not None:
            yield answer
        answer = message if message["role"] == "assistant" else None
        if answer is None:
            yield message
    if answer is not None:
        yield answer


def _message(item: Item) -> Json | None:
    if isinstance(item, MessageItem):
        return {"role": item.role, "content": _content(item.content)}
    if isinstance(item, OutputItem):
        return {"role": "tool", "tool_call_id": item.call_id, "content": _content(item.output)}
    return None


def _content(content: str | list[Part]) -> Any:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: Part) -> Json:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    detail = {"detail": part.detail} if part.detail is not None else {}
    return {"type": "image_url", "image_url": {"url": part.image_url, **detail}}


def _tool(tool: Tool, at: str) -> Json:
    if tool.type != "function":
        refuse(f"{at}.type", "must be function: tools that OpenAI runs itself are not offered")
    names = ("name", "description", "parameters", "strict")
    return {name: value for name in names if (value := getattr(tool, name)) is not None}


def _format(form: Json) -> Json:
    """`text.format` has its schema beside its type, `response_format` within a field of that name."""
    if form.get("type") == "text":
        return {}
    if form.get("type") == "json_schema":
        schema = {name: value for name, value in form.items() if name != "type"}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if form.get("type") != "json_object":
        refuse("text.format.type", "must be text, json_object or json_schema")
    return {"response_format": form}


def text_format(response_format: Json | None) -> Json:
    """`text.format` again, of what `response_format` was made of it."""
    if response_format is None:
        return {"type": "text"}
    schema = response_format.get("json_schema")
    return {"type": "json_schema", **schema} if isinstance(schema, dict) else response_format
