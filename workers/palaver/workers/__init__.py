"""Palaver's workers. `celery -A palaver.workers worker` starts one."""

from importlib import import_module
from typing import Any

__all__ = ["celery"]


def __getattr__(name: str) -> Any:
    # Celery looks here for its application; a program that wants a part of a worker need not load Celery
    if name == "celery":
        return import_module("palaver.workers.app").app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
