"""Everything that a namespace has in a Redis, as plain JSON and back: it fits any version of Redis.

`raw` is a `redis.Redis`, whose `execute_command` has no types.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any

HOUR_MS = 3_600_000


def dumped(raw: Any, namespace: str) -> dict[str, Any]:
    """All keys of the namespace by their names: type, value, and whether they go some day."""
    names = sorted(raw.scan_iter(f"{namespace}:*"))
    return {
        _text(name): {
            "type": (kind := _text(raw.type(name))),
            "goes": raw.pttl(name) != -1,
            "value": _value(raw, kind, name),
        }
        for name in names
    }


def restored(raw: Any, keys: Mapping[str, Any]) -> None:
    """Write them. What goes some day goes in an hour."""
    for text, key in keys.items():
        name, value = _bytes(text), key["value"]
        if key["type"] == "stream":
            for entry, fields in value:
                raw.execute_command("XADD", name, entry, *map(_bytes, fields))
        else:
            raw.execute_command(*_command(key["type"], name, value))
        if key["goes"]:
            raw.pexpire(name, HOUR_MS)


def _value(raw: Any, kind: str, name: bytes) -> Any:
    ask = {
        "string": ("GET", name),
        "hash": ("HGETALL", name),
        "list": ("LRANGE", name, 0, -1),
        "set": ("SMEMBERS", name),
        "zset": ("ZRANGE", name, 0, -1, "WITHSCORES"),
        "stream": ("XRANGE", name, "-", "+"),
    }[kind]
    found: Any = raw.execute_command(*ask)
    if kind == "string":
        return _text(found)
    if kind == "hash":
        return {_text(field): _text(value) for field, value in found.items()}
    if kind == "zset":
        return [[_text(member), score] for member, score in found]
    if kind == "stream":
        return [[_text(entry), [*map(_text, chain(*fields.items()))]] for entry, fields in found]
    return [_text(member) for member in found]


def _command(kind: str, name: bytes, value: Any) -> tuple[Any, ...]:
    if kind == "string":
        return ("SET", name, _bytes(value))
    if kind == "hash":
        return ("HSET", name, *map(_bytes, chain(*value.items())))
    if kind == "zset":
        return ("ZADD", name, *chain(*((score, _bytes(member)) for member, score in value)))
    return ("RPUSH" if kind == "list" else "SADD", name, *map(_bytes, value))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
