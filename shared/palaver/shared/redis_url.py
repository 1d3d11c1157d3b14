"""What a Redis URL may say: one set of rules for the ledger, the broker and a worker's own connection; pure.

`redis://[USER]:[PASSWORD]@HOST[:PORT][/DB]`, the same with `rediss` for TLS, and
`unix://[USER]:[PASSWORD]@/PATH/OF/SOCKET[?db=DB]`. A query may say `db`, `username`, `password` and, for TLS,
the `ssl_*` options of redis-py. What a URL cannot say is a setting of Palaver's.

`sentinel://[USER:PASSWORD@]HOST[:PORT][/DB]?master_name=NAME` names a sentinel, and the login of the servers
that it watches; further ones follow behind semicolons, `;sentinel://HOST[:PORT]`, as Celery writes them. Who
the sentinels themselves let in is `sentinel_username` and `sentinel_password`, in the query of the first.
`sentinels://` is the same with TLS, to the sentinels and to the servers that they name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

SENTINEL: Final = "sentinel"
SENTINELS: Final = (SENTINEL, "sentinels")
SCHEMES: Final = ("redis", "rediss", "unix", *SENTINELS)
DEFAULT_PORT: Final = 6379
SENTINEL_PORT: Final = 26379

_CREDENTIALS: Final = ("username", "password")
_SENTINEL_OPTIONS: Final = ("master_name", "sentinel_password", "sentinel_username")
_WITH_TLS: Final = ("rediss", "sentinels")
_VERIFY: Final = ("required", "optional", "none")
_TLS_OPTIONS: Final = (
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "ssl_password",
)


def split_url(url: str) -> SplitResult:
    """The parts of any URL. Raises ValueError, in words that hold nothing of it."""
    try:
        parts = urlsplit(url)
        wrong = "has the port 0, which is none" if parts.port == 0 else ""
    except ValueError as error:
        wrong = "has a port that is no number, or characters in its password that are written as %XX"
        if "out of range" in str(error):
            wrong = "has a port above 65535"
    if wrong:
        raise ValueError(wrong)
    if not _is_host(unquote(parts.hostname or "")):
        raise ValueError("has a host that can be the name of none")
    if not parts.scheme or "://" not in url:
        raise ValueError("must be a URL such as redis://127.0.0.1:6379/0")
    if parts.fragment:
        raise ValueError("has a #, which is written as %23 in a password")
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisURL:
    """Where a Redis is and what it asks for. With a `path`, of a unix socket, or a `master`, which the
    `sentinels` know by this name, host and port mean nothing.

    `tls` holds the `ssl_*` options, for sentinels too; None: no TLS.
    """

    host: str
    port: int
    path: str | None
    db: int
    username: str | None
    password: str | None = field(repr=False)
    tls: Mapping[str, Any] | None = field(repr=False)
    master: str | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    sentinel_username: str | None = None
    sentinel_password: str | None = field(repr=False, default=None)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises ValueError, in words that hold nothing of the URL but the name of an unknown option."""
        first, *others = url.split(";") if url.startswith(SENTINELS) else [url]
        parts = split_url(first)
        if parts.scheme not in SCHEMES:
            raise ValueError("must be a redis://, rediss://, unix://, sentinel:// or sentinels:// URL")
        said = _options(parts)
        socket = parts.scheme == "unix"
        path = unquote(parts.path) if socket else None
        if socket and (not path or parts.hostname):
            raise ValueError("must have the path of a socket behind three slashes: unix:///run/redis.sock")
        username = unquote(parts.username) if parts.username else said.get("username")
        password = unquote(parts.password) if parts.password else said.get("password")
        return cls(
            host=unquote(parts.hostname or "localhost"),
            port=parts.port or DEFAULT_PORT,
            path=path,
            db=_database(said.get("db", "" if socket else parts.path.strip("/"))),
            username=username or None,
            password=password or None,
            tls=tls_options(said) if parts.scheme in _WITH_TLS else None,
            master=said.get("master_name"),
            sentinels=_sentinels(parts, others) if parts.scheme in SENTINELS else (),
            sentinel_username=said.get("sentinel_username"),
            sentinel_password=said.get("sentinel_password"),
        )

    def for_celery(self) -> str:
        """The same in the form that Celery and kombu know; TLS verifies as ours does, unless told not to. For
        sentinels the TLS is left out: no URL of theirs can say it.
        """
        login = ":".join(quote(word or "", safe="") for word in (self.username, self.password))
        login = f"{login}@" if login != ":" else ""
        if self.sentinels:  # what the first says, kombu forgets when it goes on to the next
            return ";".join(
                f"{SENTINEL}://{login}{_host(host)}:{port}/{self.db}" for host, port in self.sentinels
            )
        if self.path is not None:
            return f"redis+socket://{login}{quote(self.path)}?virtual_host={self.db}"
        where = f"{login}{_host(self.host)}:{self.port}/{self.db}"
        if self.tls is None:
            return f"redis://{where}"
        return f"rediss://{where}?{urlencode(self.checked_tls())}"

    def checked_tls(self) -> dict[str, Any]:
        """The `ssl_*` options, and that certificates are checked unless they say otherwise."""
        return {"ssl_cert_reqs": "required", **(self.tls or {})}


def _options(parts: SplitResult) -> dict[str, str]:
    said = dict(parse_qsl(parts.query, keep_blank_values=True))
    of_sentinels = _SENTINEL_OPTIONS if parts.scheme in SENTINELS else ()
    of_tls = _TLS_OPTIONS if parts.scheme in _WITH_TLS else ()
    known = ("db", *_CREDENTIALS, *of_sentinels, *of_tls)
    for name in said:
        if name in _TLS_OPTIONS and not of_tls:
            raise ValueError(f"has the option {name} without TLS, which rediss:// and sentinels:// ask for")
        if name not in known:
            # with an "@" behind it, it is a piece of a password with a question mark
            shown = f" ({name[:32]})" if name.isidentifier() and "@" not in parts.query else ""
            raise ValueError(f"has an option that is not known{shown}; known are {', '.join(known)}")
    if of_sentinels and not said.get("master_name"):
        raise ValueError("must name the master that its sentinels watch: sentinel://HOST?master_name=NAME")
    return said


def _sentinels(first: SplitResult, others: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Where they are. The further ones say nothing else, or what the first has said."""
    read = [first, *map(split_url, others)]
    for parts in read:
        said = (parts.username, parts.password, parts.path.strip("/"), parts.query)
        if parts.scheme != first.scheme:
            raise ValueError(f"must be {first.scheme}:// in each of its parts")
        if any(said) and said != (first.username, first.password, first.path.strip("/"), first.query):
            raise ValueError("must have login, database and options in the first of its parts, for all")
    return tuple((unquote(parts.hostname or "localhost"), parts.port or SENTINEL_PORT) for parts in read)


def _is_host(name: str) -> bool:
    """Whether it can be looked up: Python raises no OSError for what cannot."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return True


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError("must have a number for its database, as in redis://127.0.0.1:6379/0")
    return int(text or 0)


def tls_options(said: Mapping[str, str]) -> dict[str, Any]:
    """The `ssl_*` options of a query. Raises ValueError."""
    options: dict[str, Any] = {name: said[name] for name in _TLS_OPTIONS if name in said}
    if "ssl_cert_reqs" in options:
        options["ssl_cert_reqs"] = options["ssl_cert_reqs"].lower().removeprefix("cert_")
        if options["ssl_cert_reqs"] not in _VERIFY:
            raise ValueError(f"must have one of {', '.join(_VERIFY)} for ssl_cert_reqs")
    if "ssl_check_hostname" in options:
        options["ssl_check_hostname"] = options["ssl_check_hostname"].lower() not in ("false", "0", "no")
    return options
