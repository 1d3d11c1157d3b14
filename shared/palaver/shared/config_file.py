"""`palaver.toml`, read: the file that `PALAVER_CONFIG` names."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from palaver.shared.error_tree import ConfigurationError
from palaver.shared.plain import shape
from palaver.shared.settings import DEFAULT_CONFIG

TABLES: Final = ("mcp", "models", "providers", "pusher", "tenants")


def read_config(path: str) -> dict[str, Any]:
    """The document of this file. One of the default name may be absent, and is then empty.

    Raises ConfigurationError naming the file, also for a table that is none of `TABLES`: misspelt, it would
    configure nothing, in silence.
    """
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        if path == DEFAULT_CONFIG:
            return {}
        problem = f"{path}, which PALAVER_CONFIG names, is not there"
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        problem = f"{path} is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        problem = f"{path} is not valid TOML: {error}"
    else:
        unknown = next((name for name in document if name not in TABLES), None)
        if unknown is None:
            return document
        near = difflib.get_close_matches(unknown, TABLES, 1)
        meant = f"is it [{near[0]}]?" if near else f"there are: {', '.join(TABLES)}"
        problem = f"{path}: there is no table [{unknown}]; {meant}"
    raise ConfigurationError(problem)


def table_of(document: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any]:
    """The table of this name, empty if there is none. Raises ConfigurationError naming file and table."""
    table = document.get(name, {})
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{path}: [{name}] must be a table, not {shape(table)}")
    return table
