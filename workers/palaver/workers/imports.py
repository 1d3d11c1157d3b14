"""Modules that somebody has named in a setting, and classes in them. They are found where Python finds
modules, and in the folder in which the worker was started.
"""

import importlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Final, TypeVar

from palaver.shared.errors import ConfigurationError

__all__ = ["class_at", "imported", "importing"]

C = TypeVar("C")

_LONGEST: Final = 300  # characters of an error's text
_OURS: Final = ("palaver.", "importlib", "_frozen_importlib")
_FOLDERS: Final = ("stdlib", "platstdlib", "purelib", "platlib")
_LIBRARIES: Final = tuple({sysconfig.get_path(name) for name in _FOLDERS})


def imported(variable: str, place: str) -> ModuleType:
    """The module of this name, or of this file, `my_agents.py`, whose folder is then one of Python's.

    Raises ConfigurationError naming the variable and the place.
    """
    name = place
    _look_here()
    if place.endswith(".py"):
        file = Path(place).resolve()
        name = file.stem
        if not file.is_file():
            raise ConfigurationError(f"{variable}: there is no file {place}")
        sys.path.insert(0, str(file.parent))  # as for a script
    with importing(f"{variable}: {place}"):
        return importlib.import_module(name)


def class_at(variable: str, place: str, base: type[C]) -> type[C]:
    """The class that `package.module:Class` or `package.module.Class` names.

    Raises ConfigurationError naming the variable and the place, also for a class that has another base.
    """
    module, _, name = place.rpartition(":" if ":" in place else ".")
    _look_here()
    with importing(f"{variable}: {place}"):
        found = getattr(importlib.import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigurationError(f"{variable}: {place} is no subclass of {base.__name__}")
    return found


@contextmanager
def importing(what: str, *, provider: str | None = None) -> Iterator[None]:
    """Modules of others are imported within. Raises ConfigurationError for all that they raise, an exit among
    it: one line, with the place in their code.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())[:_LONGEST]
        problem = f"{what} cannot be imported: {_line_of(error)}{type(error).__name__}: {said}"
        raise ConfigurationError(problem, provider=provider) from error


def _line_of(error: BaseException) -> str:
    """The last line of theirs that it has passed, in no library as far as there is one."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: "
    passed = [
        (frame.f_code.co_filename, line)
        for frame, line in walk_tb(error.__traceback__)
        if not frame.f_globals.get("__name__", "").startswith(_OURS)
    ]
    own = [place for place in passed if not place[0].startswith(_LIBRARIES)] or passed
    return f"{own[-1][0]}, line {own[-1][1]}: " if own else ""


def _look_here() -> None:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a console script has its own folder there instead
