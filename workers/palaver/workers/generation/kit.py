"""Which tools a job has, and which of them run here. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from palaver.shared.messages import ToolCall
from palaver.shared.tools import FunctionTool, ToolChoice, is_named
from palaver.workers.generation.source import Offer, ToolSource

__all__ = ["Kit"]


@dataclass(frozen=True, slots=True)
class Kit:
    """A job's tools on this worker; `served` are those that run here, by name."""

    definitions: list[FunctionTool] | None = None  # as a model is told of them
    served: Mapping[str, tuple[ToolSource, Offer]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()  # what it names of a source that does not have it now; no model is told
    unknown: tuple[str, ...] = ()  # bare names that no source has: the caller's own, as far as anybody knows
    rounds: int = 10  # so often may tools be called, before the model has to answer without

    def answers(self, call: ToolCall) -> bool:
        """Whether a call gets its result here; else whoever submitted the job is to answer it.

        A name that nobody has defined was made up, and is told to be wrong where tools of the job run.
        """
        if call.name in self.served:
            return True
        if any(tool.name == call.name for tool in self.definitions or ()):
            return False
        missing = any(is_named(name, call.name) for name in self.missing)
        return missing or bool(self.served)

    def choice(self, wanted: ToolChoice | None) -> ToolChoice | None:
        """The job's choice, as far as its tools are there."""
        gone = wanted is not None and wanted.name in self.missing
        return None if gone or (self.missing and not self.definitions) else wanted
