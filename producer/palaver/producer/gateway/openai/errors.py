"""Errors of OpenAI's API: their shape, for its document, and the names of its fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pydantic import BaseModel

from palaver.shared.errors import ValidationError
from palaver.shared.plain import refuse


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


@contextmanager
def renamed(place: Callable[[str], str]) -> Iterator[None]:
    """Have what is wrong with a job told by the field of the request that it came from."""
    problem: tuple[str, str] | None = None
    try:
        yield
    except ValidationError as error:
        param = error.param or ""
        if place(param) == param:
            raise
        problem = (place(param), error.message.removeprefix(f"{param}: "))
    if problem is not None:
        refuse(*problem)
