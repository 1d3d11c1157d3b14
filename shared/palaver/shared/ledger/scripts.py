"""The Lua scripts: one file per transition in `lua/`, shared pieces put in by `-- include NAME` lines."""

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

_INCLUDE = re.compile(r"^-- include (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis runs it; `sha` is its name for EVALSHA."""

    name: str
    source: str = field(repr=False)
    sha: str


@cache
def load(name: str) -> Script:
    """The script of this name, with its includes. Raises FileNotFoundError for an unknown one."""
    source = _INCLUDE.sub(lambda match: _read(f"_{match[1]}").rstrip(), _read(name))
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@cache
def sources() -> dict[str, str]:
    """The source of every transition, by its hash: for a server that has forgotten one."""
    return {script.sha: script.source for script in map(load, script_names())}


def script_names() -> list[str]:
    """Every transition, for tests and for loading all of them at once."""
    folder = files(__package__) / "lua"
    names = [entry.name.removesuffix(".lua") for entry in folder.iterdir() if entry.name.endswith(".lua")]
    return sorted(name for name in names if not name.startswith("_"))


def _read(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")
