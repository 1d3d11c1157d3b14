"""A line of OpenAI's batch input as fields of a job; pure.

https://platform.openai.com/docs/api-reference/batch/request-input
"""

from collections.abc import Mapping
from typing import Any, Final

from palaver.producer import openai_body
from palaver.shared.batches import CHAT_COMPLETIONS
from palaver.shared.plain import refuse, shape

_KEYS: Final = frozenset(("custom_id", "method", "url", "body"))


def is_openai(entry: Mapping[str, Any]) -> bool:
    """Whether this is a line in OpenAI's format rather than a job of ours."""
    return "body" in entry or "url" in entry


def job_fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the job. Raises ValidationError for another endpoint, an unknown key, a stream, and what
    answers would not have.
    """
    _check_envelope(entry)
    if entry["body"].get("stream"):
        refuse("body.stream", "must not be true: the lines of a batch are no streams")
    if entry["body"].get("logprobs"):
        refuse("body.logprobs", "must not be true: an answer's probabilities are not kept")
    return openai_body.job_fields(entry["body"])


def place(param: str) -> str:
    """Where in the line a field of the job was given."""
    return f"body.{openai_body.place(param)}"


def _check_envelope(entry: Mapping[str, Any]) -> None:
    for name in entry.keys() - _KEYS:
        refuse(str(name)[:64], "is not a known field beside body")
    if entry.get("method", "POST") != "POST":
        refuse("method", f"must be POST, not {shape(entry['method'])}")
    if entry.get("url") != CHAT_COMPLETIONS:
        refuse("url", f"must be {CHAT_COMPLETIONS}, not {shape(entry.get('url'))}")
    if not isinstance(entry.get("body"), Mapping):
        refuse("body", f"must be an object, not {shape(entry.get('body'))}")
