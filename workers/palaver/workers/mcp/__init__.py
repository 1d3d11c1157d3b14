"""Tools of servers that speak the Model Context Protocol. See README.md."""

from palaver.workers.mcp.asking import tool_names
from palaver.workers.mcp.source import McpTools

__all__ = ["McpTools", "tool_names"]
