"""What a server says, as a job has it: definitions of tools, and texts of results. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from mcp import types
from pydantic_core import to_json

from palaver.shared.errors import ValidationError
from palaver.shared.tool_servers import SEPARATOR, ToolServer
from palaver.shared.tools import FunctionTool
from palaver.workers.event_log import event_logger
from palaver.workers.generation import Offer

__all__ = ["offers_of", "text_of"]

logger = event_logger("palaver.workers.mcp")


def offers_of(server: ToolServer, tools: Iterable[types.Tool]) -> dict[str, Offer]:
    """A server's tools by their names in jobs. One that no model can be told of is logged."""
    offers = {}
    for tool in tools:
        if server.tools is not None and tool.name not in server.tools:
            continue
        name = f"{server.name}{SEPARATOR}{tool.name}"
        try:
            definition = FunctionTool(name=name, description=tool.description, parameters=tool.input_schema)
        except ValidationError as unfit:
            logger.warning("mcp.tool_left_out", server=server.name, tool=tool.name, param=unfit.param)
        else:
            offers[name] = Offer(definition, server.timeout)
    return offers


def text_of(result: types.CallToolResult) -> str:
    """A result for the model. What is no text is named, with its size."""
    if not result.content and result.structured_content is not None:
        return to_json(result.structured_content).decode()
    return "\n".join(_told(block) for block in result.content)


def _told(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent(text=text):
            return text
        case types.ResourceLink(uri=uri):
            return str(uri)
        case types.EmbeddedResource(resource=resource):
            if isinstance(resource, types.TextResourceContents):
                return resource.text
            return _left_out(resource.mime_type, resource.blob)
        case types.ImageContent() | types.AudioContent():
            return _left_out(block.mime_type, block.data)


def _left_out(kind: str | None, base64: str) -> str:
    return f"[{kind or 'binary data'}, {len(base64) * 3 // 4} bytes, left out]"
