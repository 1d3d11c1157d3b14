"""Modules that somebody has named in a setting. They are found where Python finds modules, and in the folder
in which the worker was started.
"""

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

from palaver.shared.errors import ConfigurationError

__all__ = ["imported"]


def imported(variable: str, place: str) -> ModuleType:
    """The module of this name, or of this file, `my_agents.py`, whose folder is then one of Python's.

    Raises ConfigurationError naming the variable and the place.
    """
    name = place
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a console script has its own folder there instead
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
