"""How a provider is, found out by this worker for somebody who cannot ask it."""

import asyncio
import builtins
from typing import Final

from palaver.shared.errors import ErrorInfo, PalaverError, TimeoutError
from palaver.shared.health import Health
from palaver.workers.frames import forget_frames, report
from palaver.workers.served import Served

__all__ = ["examine"]

ANSWER_SECONDS: Final = 6.0
"""For a provider; whoever asks the worker waits a little longer, and wants to know within 10 seconds."""


async def examine(served: Served, profile: str, model: str | None, *, worker: str) -> Health:
    """Ask the provider of this profile whether it answers, and for the model if one is named.

    Whatever is wrong, with the profile too, is the `error` of what this returns.
    """
    latency = 0.0
    try:
        async with asyncio.timeout(ANSWER_SECONDS), await served.lend(profile) as provider:
            health = await provider.health()
            latency = health.latency_ms
            if health.error is not None:
                raise health.error
            if model is not None:
                await provider.show(model)
    except PalaverError as error:
        problem: PalaverError = forget_frames(error)
    except builtins.TimeoutError:
        problem = TimeoutError(f"no answer within {ANSWER_SECONDS:g} seconds", provider=profile)
    except Exception as bug:  # noqa: BLE001 - whoever asks is to hear of it, and not that nobody answers
        report(bug, f"a probe of the profile {profile}")
        return Health(worker=worker, latency_ms=latency, error=ErrorInfo.of(bug))
    else:
        return Health(worker=worker, latency_ms=latency)
    return Health(worker=worker, latency_ms=latency, error=ErrorInfo.of(problem))
