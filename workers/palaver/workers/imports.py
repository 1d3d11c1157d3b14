"""Modules that somebody has named in a setting, and classes in them. They are found where Python finds
modules, and in the folder in which the worker was started.
"""

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from palaver.shared.errors import ConfigurationError

__all__ = ["class_at", "imported"]

C = TypeVar("C")


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
    try:
        return importlib.import_module(name)
    except (ImportError, SyntaxError) as error:
        raise ConfigurationError(f"{variable}: {place} cannot be imported: {error}") from error


def class_at(variable: str, place: str, base: type[C]) -> type[C]:
    """The class that `package.module:Class` or `package.module.Class` names.

    Raises ConfigurationError naming the variable and the place, also for a class that has another base.
    """
    module, _, name = place.rpartition(":" if ":" in place else ".")
    _look_here()
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, SyntaxError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"{variable}: {place} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigurationError(f"{variable}: {place} is no subclass of {base.__name__}")
    return found


def _look_here() -> None:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a console script has its own folder there instead
