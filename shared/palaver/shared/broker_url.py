"""A broker's URL as Celery and kombu want to be told of it; pure.

Redis in the forms of `redis_url`; `amqp://USER:PASSWORD@HOST[:PORT]/VHOST` and `amqps://` for RabbitMQ, the
latter with the `ssl_*` options of a Redis URL; `inprocess://NAME`, which is no broker. Others that Celery
knows are refused: each fails in ways of its own, which nobody here has tried. Several URLs, separated by
semicolons, are several ways to one broker.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlencode

from palaver.shared.in_process import SCHEME as IN_PROCESS
from palaver.shared.redis_url import SCHEMES, SENTINELS, RedisURL, split_url, tls_options

AMQP: Final = ("amqp", "amqps", "pyamqp")
QUORUM: Final = {"x-queue-type": "quorum"}
"""Of our queues on RabbitMQ: replicated, and written to disk before a message counts as taken."""

_LEAST_SECONDS: Final = 1.0

_AMQP_NAMES: Final = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}
_CERT_REQS: Final = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerURL:
    """What to give a kombu connection, or the settings of a Celery application.

    `tls` is what both call `ssl`; `queue_arguments` are those with which each of our queues is declared;
    `redis` is what the URL says if the broker is a Redis.
    """

    url: str = field(repr=False)
    tls: Mapping[str, Any] | None = field(repr=False, default=None)
    queue_arguments: Mapping[str, str] | None = None
    redis: RedisURL | None = None

    @property
    def nodes(self) -> int:
        """So many addresses a client of RabbitMQ tries, one after the other, until one answers."""
        return 1 if self.queue_arguments is None else len(self.url.split(";"))

    def node_seconds(self, seconds: float) -> float:
        """So long each of them has to answer, where all together have about so many seconds."""
        return max(seconds / self.nodes, min(seconds, _LEAST_SECONDS))

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises ValueError, in words that hold nothing of the URL but the name of an unknown option."""
        parts = url.split(";")
        kinds = {split_url(part).scheme for part in parts}
        if kinds - {*SCHEMES, *AMQP, IN_PROCESS}:
            names = ", ".join(f"{scheme}://" for scheme in (*SCHEMES, "amqp"))
            raise ValueError(f"must be a {names} or amqps:// URL")
        if kinds & {"amqps"}:
            return cls._with_tls(parts)
        if kinds & {*SENTINELS}:
            sentinels = RedisURL.parse(url)
            tls = None if sentinels.tls is None else sentinels.checked_tls()
            return cls(url=sentinels.for_celery(), tls=tls, redis=sentinels)
        read = [RedisURL.parse(part) if split_url(part).scheme in SCHEMES else part for part in parts]
        celery = ";".join(part if isinstance(part, str) else part.for_celery() for part in read)
        redis = next((part for part in read if isinstance(part, RedisURL)), None)
        return cls(url=celery, queue_arguments=QUORUM if kinds & {*AMQP} else None, redis=redis)

    @classmethod
    def _with_tls(cls, parts: list[str]) -> Self:
        read = [_amqps(part) for part in parts]
        if any(options != read[0][1] for _, options in read):
            raise ValueError("must have the same ssl_* options in each of its parts")
        return cls(url=";".join(bare for bare, _ in read), tls=_amqp_tls(read[0][1]), queue_arguments=QUORUM)

    def transport_options(self, seconds: float) -> dict[str, Any]:
        """What kombu has to know of sentinels, which have so long to answer."""
        if self.redis is None or self.redis.master is None:
            return {}
        from palaver.shared.sentinels import client_options  # which brings the whole client of Redis

        return {
            "master_name": self.redis.master,
            "sentinel_kwargs": client_options(self.redis, seconds),
        }


def _amqps(url: str) -> tuple[str, dict[str, Any]]:
    """The URL without its `ssl_*` options, and these."""
    parts = split_url(url)
    if parts.scheme != "amqps":
        raise ValueError("must be amqps:// in each of its parts, or in none")
    said = dict(parse_qsl(parts.query, keep_blank_values=True))
    options = tls_options(said)
    others = {name: value for name, value in said.items() if not name.startswith("ssl_")}
    if unknown := said.keys() - options.keys() - others.keys():
        raise ValueError(f"has an option that is not known ({min(unknown)[:32]})")
    if refused := options.keys() - {*_AMQP_NAMES, "ssl_cert_reqs", "ssl_check_hostname"}:
        raise ValueError(f"has the option {min(refused)}, which the client of AMQP does not know")
    return parts._replace(query=urlencode(others)).geturl(), options


def _amqp_tls(options: Mapping[str, Any]) -> dict[str, Any]:
    """In the words of py-amqp, which checks the name in a certificate only if it is told one."""
    tls: dict[str, Any] = {_AMQP_NAMES[name]: options[name] for name in _AMQP_NAMES if name in options}
    required = options.get("ssl_cert_reqs", "required")
    tls["cert_reqs"] = _CERT_REQS[required]
    if required == "required" and options.get("ssl_check_hostname", True):
        tls["server_hostname"] = None  # kombu puts the broker's own there
    return tls
