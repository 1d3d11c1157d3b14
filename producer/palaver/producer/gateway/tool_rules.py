"""Which tools a client may name; pure."""

from __future__ import annotations

from typing import Any

from palaver.shared.plain import refuse
from palaver.shared.tools import FunctionTool, is_pattern


def check_tools(tools: Any, param: str = "tools") -> None:
    """A client runs its tools itself: it cannot ask for all those of the workers. What is no tool is refused
    where the job is made. Raises ValidationError.
    """
    for tool in tools if isinstance(tools, list) else ():
        if is_pattern(_name(tool)):
            refuse(param, "must be named one by one")


def _name(tool: Any) -> str:
    if isinstance(tool, FunctionTool):
        return tool.name
    function = tool.get("function", tool) if isinstance(tool, dict) else {}
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else ""
