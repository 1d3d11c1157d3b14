"""The version of the contract: of jobs, batches and events. Writer and reader may be of different versions.

- What others may ignore, or do without, raises nothing: a field, a type of event.
- What a worker must know to do a job right raises VERSION. A document that says a higher one, and cannot be
  read here, is left to a worker that can: nothing of it is lost, and none of its budgets is spent.
- Stored jobs leave out what has its default: one that uses nothing new can be done by older workers.
- Readers ignore keys and types of events that they do not know.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["VERSION", "version_of"]

VERSION: Final = 1


def version_of(document: Mapping[str, Any]) -> int:
    """What a document says of itself; 1 where it says nothing, or nonsense."""
    said = document.get("version")
    return said if type(said) is int and said > 0 else 1
