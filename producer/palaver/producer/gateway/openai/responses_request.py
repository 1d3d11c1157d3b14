"""A request to OpenAI's responses as fields of a job; pure.

https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from palaver.producer.gateway.shapes import Json, list_at, object_at
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
_TAKEN: Final = {
    *_PARAMS,
    *("background", "include", "input", "instructions", "metadata", "model", "parallel_tool_calls"),
    *("previous_response_id", "reasoning", "store", "stream", "stream_options", "text", "tool_choice"),
    *("tools", "truncation"),
}
_EXTRA: Final = "params.extra."
_TEXT: Final = ("input_text", "output_text", "text")


def job_fields(body: Mapping[str, Any]) -> Json:
    """The fields of the job. Raises ValidationError; what is not known here goes to the provider as it is."""
    given = {name: value for name, value in body.items() if value is not None}
    params: Json = {ours: given[theirs] for theirs, ours in _PARAMS.items() if theirs in given}
    params["extra"] = {name: value for name, value in given.items() if name not in _TAKEN}
    if (form := object_at(given.get("text", {}), "text").get("format")) is not None:
        params |= _format(object_at(form, "text.format"))
    fields: Json = {
        "model": given.get("model"),
        "messages": list(_messages(given.get("input"))),
        "metadata": given.get("metadata", {}),
        "params": params,
    }
    if "instructions" in given:
        fields["system"] = given["instructions"]
    if "parallel_tool_calls" in given:
        fields["parallel_tool_calls"] = given["parallel_tool_calls"]
    if tools := given.get("tools"):
        fields["tools"] = [_tool(tool, f"tools[{n}]") for n, tool in enumerate(list_at(tools, "tools"))]
    if "tool_choice" in given:
        fields["tool_choice"] = given["tool_choice"]
    effort = object_at(given.get("reasoning", {}), "reasoning").get("effort")
    if effort is not None:
        fields["reasoning"] = False if effort == "none" else {"effort": effort}
    return fields


def place(param: str) -> str:
    """Where in the request a field of the job was given."""
    if param.startswith("messages"):
        return "input" + param.removeprefix("messages")
    if param.startswith(_EXTRA):
        return param.removeprefix(_EXTRA)
    name = param.removeprefix("params.")
    return {ours: theirs for theirs, ours in _PARAMS.items()}.get(name, name)


def history_of(previous: JobView) -> list[Json]:
    """What was said up to the end of a response, to go on from there. Raises JobNotFinishedError, and
    ValidationError for one that has no answer.
    """
    job, response = previous.document, previous.response
    if not previous.status.ended:
        raise JobNotFinishedError(
            f"The response of job {previous.job_id} has not ended.", job_id=previous.job_id
        )
    if job is None or response is None:
        raise ValidationError(
            "previous_response_id: has no answer to go on from", param="previous_response_id"
        )
    answer: Json = {"role": "assistant", "content": response.content}
    if response.tool_calls:
        answer["tool_calls"] = [call.model_dump(mode="json") for call in response.tool_calls]
    return [*_said(job), answer]


def _said(job: ChatJob) -> Iterator[Json]:
    history = job.history if isinstance(job.history, list) else []
    for message in (*history, *job.messages):
        yield message.model_dump(mode="json", exclude_unset=True)


def _messages(given: Any) -> Iterator[Json]:
    if isinstance(given, str):
        yield {"role": "user", "content": given}
        return
    for number, item in enumerate(list_at(given, "input")):
        at = f"input[{number}]"
        known = object_at(item, at)
        kind = known.get("type", "message")
        if kind == "message":
            yield {"role": known.get("role"), "content": _content(known.get("content"), at)}
        elif kind == "function_call":
            call = {
                "id": known.get("call_id"),
                "name": known.get("name"),
                "arguments": known.get("arguments"),
            }
            yield {"role": "assistant", "content": None, "tool_calls": [call]}
        elif kind == "function_call_output":
            told = _content(known.get("output"), at)
            yield {"role": "tool", "tool_call_id": known.get("call_id"), "content": told}
        elif kind != "reasoning":  # what it thought is not told to a model again
            refuse(f"{at}.type", f"is not taken here: {str(kind)[:64]!r}")


def _content(content: Any, at: str) -> Any:
    if isinstance(content, str):
        return content
    return [_part(part, f"{at}.content[{n}]") for n, part in enumerate(list_at(content, f"{at}.content"))]


def _part(part: Any, at: str) -> Json:
    known = object_at(part, at)
    if known.get("type") in _TEXT:
        return {"type": "text", "text": known.get("text")}
    if known.get("type") != "input_image":
        refuse(f"{at}.type", "must be input_text, output_text or input_image")
    detail = {"detail": known["detail"]} if isinstance(known.get("detail"), str) else {}
    return {"type": "image_url", "image_url": {"url": known.get("image_url"), **detail}}


def _tool(tool: Any, at: str) -> Json:
    known = object_at(tool, at)
    if known.get("type") != "function":
        refuse(f"{at}.type", "must be function: tools that OpenAI runs itself are not offered")
    names = ("name", "description", "parameters", "strict")
    return {name: known[name] for name in names if known.get(name) is not None}


def _format(form: Json) -> Json:
    """`text.format` has its schema beside its type, `response_format` within a field of that name."""
    if form.get("type") == "text":
        return {}
    if form.get("type") == "json_schema":
        schema = {name: value for name, value in form.items() if name != "type"}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {"response_format": form}
