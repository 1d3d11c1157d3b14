"""The first process of a container. Linux keeps from it each signal for which it has no handler: told to stop
while it still imports its parts, it would hear nothing, and be killed at the end of the time to leave.
"""

import os
import signal
import threading

__all__ = ["end_when_told", "keep_for_the_next_program"]


def end_when_told() -> None:
    """Have SIGTERM end this process at once, as it does any other that has no handler for it. To be called
    before the imports that take long.
    """
    if _is_ours():
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    if os.getpid() == 1:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def keep_for_the_next_program() -> None:
    """Have SIGTERM wait until the program that takes the place of this one calls `end_when_told`: it has no
    handler at first, and what is blocked is not lost.
    """
    if os.getpid() == 1:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _is_ours() -> bool:
    """Whether this is the first process, and not some program that has its own way to end."""
    return (
        os.getpid() == 1
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
