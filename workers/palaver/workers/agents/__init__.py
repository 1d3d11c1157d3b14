"""Agents: code of yours that answers chats. What stands here is for that code."""

from palaver.workers.agents.base import Agent, AgentUser, path
from palaver.workers.agents.context import with_context
from palaver.workers.agents.files import aget_file_text, get_file_text
from palaver.workers.agents.models import ask_model, ask_model_blocking, get_history
from palaver.workers.agents.stream import ResponseStream
from palaver.workers.agents.widgets import display_widget, send_content

__all__ = [
    "Agent",
    "AgentUser",
    "ResponseStream",
    "aget_file_text",
    "ask_model",
    "ask_model_blocking",
    "display_widget",
    "get_file_text",
    "get_history",
    "path",
    "send_content",
    "with_context",
]
