"""Palaver's workers. `celery -A palaver.workers worker` starts one; `install(app)` makes those of another
Celery application run Palaver's jobs too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palaver.workers.app import install

__all__ = ["celery", "install"]

HOMES = {"celery": "app", "install": "install"}


def __getattr__(name: str) -> Any:
    # Celery looks here for its application; a program that wants a part of a worker need not load Celery
    if name in HOMES:
        return getattr(import_module("palaver.workers.app"), HOMES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
