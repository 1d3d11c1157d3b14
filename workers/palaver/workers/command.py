"""What `python -m palaver.workers` does: a worker with our settings. Options are those of `celery worker`.

Exit codes: 2 wrong configuration or usage, 3 the ledger or the broker cannot be reached; one line says which.
"""

import os
import sys
from collections.abc import Sequence

from palaver.shared.errors import ConfigurationError, PalaverError, ServiceUnavailableError
from palaver.shared.ledger import SyncLedger
from palaver.shared.profiles import Catalog
from palaver.shared.settings import Settings
from palaver.workers.app import check_broker, run
from palaver.workers.serving import Serving

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Check that everything is there, then be a worker until told to stop."""
    try:
        _check_pool(arguments)
        settings = Settings.load()
        Serving.of(Catalog.load(settings))
        _check(settings)
    except PalaverError as error:
        print(f"palaver worker: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 3 if isinstance(error, ServiceUnavailableError) else 2
    return run(["--loglevel", "INFO", *_own_name(arguments), *arguments])


def _own_name(arguments: Sequence[str]) -> list[str]:
    """The option for a name that no other worker of this machine has: Celery gives all of them one, and its
    controls and Flower would take them for one worker.
    """
    named = any(word.partition("=")[0] == "--hostname" or word.startswith("-n") for word in arguments)
    return [] if named else ["--hostname", f"palaver-{os.getpid()}@%h"]


def _check_pool(arguments: Sequence[str]) -> None:
    """Celery ignores `--pool prefork`, its default, for the pool that is configured."""
    if any(word.partition("=")[0] == "--pool" or word.startswith("-P") for word in arguments):
        raise ConfigurationError("a worker has one pool, of one event loop; leave --pool out")


def _check(settings: Settings) -> None:
    ledger = SyncLedger(settings)
    try:
        ledger.check()
    finally:
        ledger.close()
    if settings.broker_url != settings.redis_url:
        check_broker(settings)
