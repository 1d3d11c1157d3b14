"""Where a process serves what it tells of itself."""

import re
from dataclasses import dataclass
from typing import Final, Self

LOOPBACK: Final = "127.0.0.1"

_ADDRESS: Final = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):)?(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """Where pages are served; port 0 is any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`9464`, `0.0.0.0:9464` or `[::]:9464`; ValueError for anything else."""
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match["port"]) > 65535:
            raise ValueError("must be a port, or HOST:PORT as 0.0.0.0:9464")
        return cls((match["host"] or LOOPBACK).strip("[]"), int(match["port"]))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
