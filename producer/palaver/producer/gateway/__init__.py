"""The HTTP gateway: OpenAI's and Anthropic's APIs, and sessions with resumable events. See README.md."""

from palaver.producer.gateway.app import create_app

__all__ = ["create_app"]
