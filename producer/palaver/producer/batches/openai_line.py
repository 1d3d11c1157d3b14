"""A line of OpenAI's batch input as fields of a job; pure.

https://platform.openai.com/docs/api-reference/batch/request-input
"""

from collections.abc import Mapping
from typing import Any, Final

from palaver.shared.batches import CHAT_COMPLETIONS
from palaver.shared.params import ChatParams
from palaver.shared.plain import refuse, shape

_KEYS: Final = frozenset(("custom_id", "method", "url", "body"))
_OF_THE_JOB: Final = frozenset(
    ("messages", "model", "tools", "tool_choice", "parallel_tool_calls", "metadata")
)
_OF_STREAMS: Final = frozenset(("stream", "stream_options"))
_RENAMED: Final = {"max_completion_tokens": "max_tokens"}
# Names of our own that mean nothing to OpenAI, or something else.
_PARAMS: Final = frozenset(ChatParams.model_fields) - {
    "extra",
    "include_usage",
    "reasoning",
    "return_raw",
    "return_raw_events",
}


def is_openai(entry: Mapping[str, Any]) -> bool:
    """Whether this is a line in OpenAI's format rather than a job of ours."""
    return "body" in entry or "url" in entry


def job_fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the job; what OpenAI may have named anew is sent to the provider as it is.

    Raises ValidationError for another endpoint, an unknown key, a stream, and what answers would not have.
    """
    _check_envelope(entry)
    body = {_RENAMED.get(name, name): value for name, value in entry["body"].items() if value is not None}
    if body.get("stream"):
        refuse("body.stream", "must not be true: the lines of a batch are no streams")
    if body.get("logprobs"):
        refuse("body.logprobs", "must not be true: an answer's probabilities are not kept")
    fields = {name: body.pop(name) for name in _OF_THE_JOB if name in body}
    if "model" not in fields:
        fields["model"] = None
    effort = body.pop("reasoning_effort", None)
    if effort is not None:
        fields["reasoning"] = False if effort == "none" else {"effort": effort}
    params = {name: body.pop(name) for name in _PARAMS if name in body}
    extra = {name: value for name, value in body.items() if name not in _OF_STREAMS}
    return {**fields, "params": {**params, "extra": extra}}


def place(param: str) -> str:
    """Where in the line a field of the job was given."""
    return f"body.{param.removeprefix('params.').removeprefix('extra.')}"


def _check_envelope(entry: Mapping[str, Any]) -> None:
    for name in entry.keys() - _KEYS:
        refuse(str(name)[:64], "is not a known field beside body")
    if entry.get("method", "POST") != "POST":
        refuse("method", f"must be POST, not {shape(entry['method'])}")
    if entry.get("url") != CHAT_COMPLETIONS:
        refuse("url", f"must be {CHAT_COMPLETIONS}, not {shape(entry.get('url'))}")
    if not isinstance(entry.get("body"), Mapping):
        refuse("body", f"must be an object, not {shape(entry.get('body'))}")
