"""The shape of errors of OpenAI's API, for its document."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel


class OpenAIError(BaseModel):
    """What stands under `error`."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorBody(BaseModel):
    """The body of an answer that is an error."""

    error: OpenAIError


OPENAI_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": OpenAIErrorBody, "description": "What is wrong with the request."},
    "5XX": {"model": OpenAIErrorBody, "description": "What failed."},
}
