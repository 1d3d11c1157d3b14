"""The code of a provider runs behind this, whoever wrote it: what it should not raise is an error of that
provider, so that a job goes on with its next model.
"""

import asyncio
import builtins
from contextlib import AbstractContextManager, suppress
from types import TracebackType

from palaver.shared.errors import ChatClientError, ConnectionError, InternalError, PalaverError, TimeoutError
from palaver.workers.event_log import event_logger
from palaver.workers.frames import frames
from palaver.workers.providers.base import Provider

__all__ = ["close", "guarded"]

logger = event_logger("palaver.workers.providers")


def guarded(provider: Provider, method: str) -> AbstractContextManager[None]:
    """The provider's `method` runs within. Raises PalaverErrors as they are, with the provider's name; for
    anything else ConnectionError, TimeoutError, or ChatClientError (of a dialect of ours InternalError), and
    the log has the lines of code that it has passed.
    """
    return _Guard(provider, method)


class _Guard:
    """Each stream is in one for as long as it lasts: a generator would be ten times as large."""

    __slots__ = ("_method", "_provider")

    def __init__(self, provider: Provider, method: str) -> None:
        self._provider = provider
        self._method = method

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, PalaverError):
            self._provider.label(error)
        elif (failure := self._failure(error)) is not None:
            failure.provider = self._provider.profile.name
            raise failure

    def _failure(self, error: BaseException | None) -> PalaverError | None:
        """What is raised instead of what anybody's code may raise; None: that goes on as it is."""
        if isinstance(error, OSError):
            # Its text may tell a key or a prompt; its class says enough.
            kind = TimeoutError if isinstance(error, builtins.TimeoutError) else ConnectionError
            return kind(f"{type(error).__name__} in the client")
        if not isinstance(error, Exception | SystemExit | asyncio.CancelledError):
            return None
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            return None  # by us; otherwise it has cancelled something of its own
        profile, name = self._provider.profile, type(error).__name__
        logger.warning(f"client.failed\n{frames(error)}", profile=profile.name, error=name)
        told = f"{self._method} of {profile.kind} raised {name}; the worker's log says where"
        return ChatClientError(told) if ":" in profile.kind else InternalError(told)


async def close(provider: Provider) -> None:
    """Close it. What it raises is told in the log alone: its last answer is given."""
    with suppress(PalaverError), guarded(provider, "aclose"):
        await provider.aclose()
