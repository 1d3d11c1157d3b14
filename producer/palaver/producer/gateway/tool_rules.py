"""Which tools a client may name; pure."""

from __future__ import annotations

from typing import Any

from palaver.shared.api_keys import ApiKey
from palaver.shared.errors import ForbiddenError, ValidationError
from palaver.shared.plain import refuse
from palaver.shared.tools import FunctionTool, is_pattern


def check_tools(tools: Any, key: ApiKey | None, param: str = "tools") -> None:
    """A client runs its tools itself: it cannot ask for all those of the workers, and of those that it names,
    by nothing but a name, it has what its key allows. Raises ValidationError, ForbiddenError; what is no tool
    is refused where the job is made.
    """
    for tool in filter(None, map(_tool, tools if isinstance(tools, list) else ())):
        if is_pattern(tool.name):
            refuse(param, "must be named one by one")
        if tool.is_bare and key is not None and not key.allows_tool(tool.name):
            raise ForbiddenError("The API key does not allow this tool of the workers.", param=param)


def _tool(tool: Any) -> FunctionTool | None:
    try:
        return FunctionTool.validated(tool)
    except ValidationError:
        return None
