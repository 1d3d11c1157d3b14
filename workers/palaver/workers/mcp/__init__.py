"""Tools of servers that speak the Model Context Protocol. See README.md."""

from palaver.workers.mcp.source import McpTools

__all__ = ["McpTools"]
