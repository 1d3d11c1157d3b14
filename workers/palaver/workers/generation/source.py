"""The door for tools: what offers them to a worker, and what a tool is told.

Registered functions are one source (`functions.py`); servers that speak MCP are another (`mcp/`).
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from palaver.shared.tools import FunctionTool

__all__ = ["Offer", "ToolContext", "ToolError", "ToolSource"]


class ToolError(Exception):
    """A tool could not do what it was asked. The text is for the model, which may try again; it ends up in
    events and in the session's history.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """What a tool may know of the call. After a crash of its worker a call may run again, under the same
    ids.
    """

    job_id: str
    session_id: str
    call_id: str
    tenant: str | None = None
    user: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)  # the job's own
    stopped: threading.Event = field(default_factory=threading.Event)  # nobody waits any more


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool that a source runs: how a model is told of it, and the seconds that a call may take (None: the
    worker's).
    """

    definition: FunctionTool
    timeout: float | None = None


class ToolSource(ABC):
    """Where tools come from. Made once per worker process; its methods are called on the loop of the
    streams, which they must not block.
    """

    async def start(self) -> None:
        """Begin what goes on beside the calls; called once, before any job runs. It waits for nobody."""
        return

    @abstractmethod
    async def tools(self) -> Mapping[str, Offer]:
        """What it offers now, by name. Asked for every job that has tools: to be answered from memory.

        Raises a PalaverError if it cannot tell; the job ends with that.
        """

    @abstractmethod
    async def call(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> str:
        """Run an offered tool; what it says to the model.

        Raises ToolError for what the model shall read; of any other exception it is told the class alone, a
        cancellation that nobody asked for among them.
        It is cancelled when the job ends or the call has had its time, and must then return at once:
        `context.stopped` is set for whatever goes on by itself.
        """

    def owns(self, name: str) -> bool:
        """Whether a tool that it does not offer now is its own all the same, and of nobody else."""
        return False

    async def aclose(self) -> None:
        """Release what it holds; called once, when no job runs any more."""
        return
