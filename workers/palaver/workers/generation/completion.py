"""How a truncated answer is continued. Pure."""

import random
from collections.abc import Callable

from palaver.shared.jobs import Completion

__all__ = ["continue_delay"]


def continue_delay(
    complete: Completion, count: int, chance: Callable[[float, float], float] = random.uniform
) -> float:
    """Seconds to wait before the `count`-th continue; none before the first."""
    return chance(*complete.continue_delay) if count > 1 else 0.0
