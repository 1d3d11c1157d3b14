"""A connection is an open file, and of those a process has only so many: beyond them it could not even answer
who asks whether it lives.
"""

from __future__ import annotations

import logging
import resource
from typing import Final

from palaver.shared.errors import ConfigurationError

log = logging.getLogger("palaver.gateway")

OTHERS: Final = 256
"""Redis, the broker, the store of files; and the few connections beyond the bound, on which that is told."""


def fit(connections: int) -> int:
    """How many connections this process can have, of so many that it may; the system is asked for files.

    Raises ConfigurationError where there is room for none.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = allowed(connections, hard)
    if files <= OTHERS:
        problem = f"the gateway needs more than {OTHERS} open files, and may have {files}: raise ulimit -Hn"
        raise ConfigurationError(problem, param="gateway_connections")
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    if files < connections + OTHERS:
        log.warning("fewer_connections open_files=%d: PALAVER_GATEWAY_CONNECTIONS needs more", files)
    return files - OTHERS


def allowed(connections: int, hard: int) -> int:
    """How many files may be open for so many connections, where the system allows `hard`."""
    wanted = connections + OTHERS
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
