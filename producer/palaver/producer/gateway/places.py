"""Where in a request that was said which is wrong with its job; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from palaver.shared.errors import ValidationError
from palaver.shared.plain import refuse


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
