"""`palaver gateway`: the HTTP gateway, until Ctrl-C."""

from contextlib import closing
from importlib.util import find_spec

from palaver.producer.broker import Broker
from palaver.producer.cli.terminal import note, write, write_json
from palaver.shared.errors import ConfigurationError, PalaverError
from palaver.shared.ledger import SyncLedger, operations
from palaver.shared.settings import Settings

HOST = "127.0.0.1"
PORT = 8080
_NEEDED = ("fastapi", "httptools", "multipart", "uvicorn", "uvloop")


def run(host: str, port: int, *, as_json: bool) -> int:
    """Serve, once the ledger has answered. A broker that does not is told: what is there can be read."""
    require_gateway()
    settings = Settings.load()
    with SyncLedger(settings) as ledger:
        has_keys = bool(ledger.query(operations.api_keys(ledger.keys)))
    # Only now: to load these takes half a second, and who has no ledger is to be told within three.
    from palaver.producer.gateway.access.caller import is_loopback
    from palaver.producer.gateway.server import serve

    if not has_keys:
        note(_without_keys(settings, local=is_loopback(host)))
    broker_error = _broker_error(settings)
    if broker_error is not None:
        note(f"{broker_error} Until it answers, jobs are refused; what is there is served.")

    def say_ready(address: str) -> None:
        if as_json:
            write_json({"ready": True, "url": address, "broker_error": broker_error})
        else:
            write(f"ready: {address} · OpenAI's clients: base_url={address}/v1 · Ctrl-C stops it\n")

    serve(settings, host=host, port=port, when_ready=say_ready)
    note("stopped")
    return 0


def is_installed() -> bool:
    """Whether this machine has what a gateway needs."""
    return not _missing()


def require_gateway() -> None:
    """Raise ConfigurationError when this machine has no gateway installed."""
    if missing := _missing():
        raise ConfigurationError(
            f"the gateway needs more than is installed here ({', '.join(missing)} missing): "
            "pip install 'palaver[gateway]'"
        )


def _missing() -> list[str]:
    return [name for name in _NEEDED if not find_spec(name)]


def _broker_error(settings: Settings) -> str | None:
    if settings.broker_url == settings.redis_url:
        return None  # the ledger has answered
    try:
        with closing(Broker.of(settings)) as broker:
            broker.check()
    except PalaverError as error:
        return error.message
    return None


def _without_keys(settings: Settings, *, local: bool) -> str:
    if local and settings.gateway_auth == "auto":
        return "no API keys: whoever is on this machine is served, and nobody else"
    return "no API keys: nobody is served until palaver keys create has made one"
