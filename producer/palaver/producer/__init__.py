"""The producer: submit chat jobs, follow their events, get their results.

Names are loaded at first use: a program that only imports this pays for no client library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from palaver.producer.async_client import AsyncClient
    from palaver.producer.client import Client
    from palaver.producer.handles import AsyncJobHandle, JobHandle

_HOMES: Final = {
    "AsyncClient": "async_client",
    "AsyncJobHandle": "handles",
    "Client": "client",
    "JobHandle": "handles",
}

__all__ = ["AsyncClient", "AsyncJobHandle", "Client", "JobHandle"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
