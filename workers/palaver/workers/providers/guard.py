"""The code of a provider runs behind this, whoever wrote it: what it should not raise is an error of that
provider, so that a job goes on with its next model.
"""

import asyncio
import builtins
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from palaver.shared.errors import ChatClientError, ConnectionError, InternalError, PalaverError, TimeoutError
from palaver.workers.event_log import event_logger
from palaver.workers.frames import frames
from palaver.workers.providers.base import Provider

__all__ = ["close", "guarded"]

logger = event_logger("palaver.workers.providers")


@contextmanager
def guarded(provider: Provider, method: str) -> Iterator[None]:
    """The provider's `method` runs within. Raises PalaverErrors as they are, with the provider's name; for
    anything else ConnectionError, TimeoutError, or ChatClientError (of a dialect of ours InternalError), and
    the log has the lines of code that it has passed.
    """
    profile = provider.profile
    try:
        yield
        return
    except PalaverError as error:
        provider.label(error)
        raise
    except OSError as error:
        # Its text may tell a key or a prompt; its class says enough.
        kind = TimeoutError if isinstance(error, builtins.TimeoutError) else ConnectionError
        failure: PalaverError = kind(f"{type(error).__name__} in the client")
    except (Exception, SystemExit, asyncio.CancelledError) as error:  # it may be anybody's code
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # by us; otherwise it has cancelled something of its own
        name = type(error).__name__
        logger.warning(f"client.failed\n{frames(error)}", profile=profile.name, error=name)
        told = f"{method} of {profile.kind} raised {name}; the worker's log says where"
        failure = ChatClientError(told) if ":" in profile.kind else InternalError(told)
    failure.provider = profile.name
    raise failure


async def close(provider: Provider) -> None:
    """Close it. What it raises is told in the log alone: its last answer is given."""
    with suppress(PalaverError), guarded(provider, "aclose"):
        await provider.aclose()
