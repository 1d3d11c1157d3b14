"""Palaver in a Django project: a small app over the same conversations and the same agents. See README.md."""

from palaver.producer.django.conversations import (
    ConversationMessage,
    ConversationService,
    ConversationSession,
)

__all__ = ["ConversationMessage", "ConversationService", "ConversationSession"]
