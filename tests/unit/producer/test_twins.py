"""What the blocking client offers, the other one offers under the same name."""

import inspect

import pytest

from palaver.producer import AsyncBatchHandle, AsyncClient, AsyncJobHandle, BatchHandle, Client, JobHandle
from palaver.producer.files import AsyncFiles, Files
from palaver.producer.interfaces import AsyncConversations, Chat, Conversations


def methods(kind: type) -> dict[str, inspect.Signature]:
    public = {
        name: found for name, found in vars(kind).items() if inspect.isfunction(found) and name[0] != "_"
    }
    return {name: inspect.signature(found) for name, found in public.items()}


@pytest.mark.parametrize(
    ("blocking", "other"),
    [
        ("__call__", "acall"),
        ("stream", "astream"),
        ("complete", "acomplete"),
        ("complete_stream", "acomplete_stream"),
    ],
)
def test_chat_s_calls_have_the_same_arguments(blocking: str, other: str) -> None:
    theirs = inspect.signature(vars(Chat)[other])
    assert theirs.parameters == inspect.signature(vars(Chat)[blocking]).parameters


@pytest.mark.parametrize(
    ("blocking", "other"),
    [
        (BatchHandle, AsyncBatchHandle),
        (Client, AsyncClient),
        (Conversations, AsyncConversations),
        (Files, AsyncFiles),
        (JobHandle, AsyncJobHandle),
    ],
)
def test_they_have_the_same_methods_with_the_same_arguments(blocking: type, other: type) -> None:
    theirs = methods(other)
    for name, signature in methods(blocking).items():
        assert theirs[name].parameters == signature.parameters, name
