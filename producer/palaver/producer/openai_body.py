"""The body of a request to OpenAI's chat completions as fields of a job; pure.

https://platform.openai.com/docs/api-reference/chat/create
"""

from collections.abc import Mapping
from typing import Any, Final

from palaver.shared.params import ChatParams
from palaver.shared.plain import refuse

_OF_THE_JOB: Final = frozenset(
    ("messages", "model", "tools", "tool_choice", "parallel_tool_calls", "metadata")
)
_UNSENT: Final = frozenset(("stream", "stream_options", "logprobs"))
_RENAMED: Final = {"max_completion_tokens": "max_tokens"}
# Names of our own that mean nothing to OpenAI, or something else.
_PARAMS: Final = frozenset(ChatParams.model_fields) - {
    "extra",
    "include_usage",
    "reasoning",
    "return_raw",
    "return_raw_events",
}


def job_fields(request: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the job; what OpenAI may have named anew is sent to the provider as it is.

    Raises ValidationError for what answers would not have.
    """
    body = {_RENAMED.get(name, name): value for name, value in request.items() if value is not None}
    if body.get("logprobs"):
        refuse("logprobs", "must not be true: an answer's probabilities are not kept")
    fields = {name: body.pop(name) for name in _OF_THE_JOB if name in body}
    if "model" not in fields:
        fields["model"] = None
    effort = body.pop("reasoning_effort", None)
    if effort is not None:
        fields["reasoning"] = False if effort == "none" else {"effort": effort}
    params = {name: body.pop(name) for name in _PARAMS if name in body}
    extra = {name: value for name, value in body.items() if name not in _UNSENT}
    return {**fields, "params": {**params, "extra": extra}}


def place(param: str) -> str:
    """Where in the body a field of the job was given."""
    return param.removeprefix("params.").removeprefix("extra.")
