"""`palaver worker`: this process becomes a worker."""

import os
import sys
from importlib.util import find_spec

from palaver.shared.errors import ConfigurationError
from palaver.shared.first_process import keep_for_the_next_program
from palaver.shared.ledger import SyncLedger
from palaver.shared.settings import Settings

# Started, never imported: producers and workers are installed and deployed apart.
WORKER = (sys.executable, "-m", "palaver.workers")


def run(arguments: list[str], *, agents: str | None = None) -> int:
    """Replace this process by `python -m palaver.workers ARGUMENTS`, once its services have answered."""
    if agents:
        os.environ["PALAVER_AGENTS"] = agents
    require_worker()
    _check_services(Settings.load())
    sys.stdout.flush()
    keep_for_the_next_program()
    os.execv(WORKER[0], [*WORKER, *arguments])  # noqa: S606 - our own interpreter


def require_worker() -> None:
    """Raise ConfigurationError when this machine has no worker installed."""
    missing = [name for name in ("celery", "aiohttp", "greenlet", "msgspec") if not find_spec(name)]
    if missing:
        raise ConfigurationError(
            f"a worker needs more than is installed here ({', '.join(missing)} missing): "
            "pip install 'palaver[worker]'"
        )


def _check_services(settings: Settings) -> None:
    """A worker would wait for ever for a service that is not there; here somebody is told."""
    from palaver.producer.broker import Broker  # `dev` uses this module too and needs no broker

    with SyncLedger(settings) as ledger:
        ledger.check()
    broker = Broker.of(settings)
    try:
        broker.check()
    finally:
        broker.close()
