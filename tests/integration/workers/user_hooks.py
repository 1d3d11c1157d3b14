"""Hooks of agents, and one agent, for the tests."""

from palaver.shared import CompletionEvent, Hooks, Message, PreCompletionEvent, Role
from palaver.workers.agents import path
from tests.integration.workers import user_agents

chat_hooks = Hooks()


@chat_hooks.on_precompletion(priority=2)
async def twice(event: PreCompletionEvent) -> None:
    if event.messages[-1].text == "hook":
        event.messages[-1] = Message(role=Role.USER, content=f"hooked after {len(event.messages) - 1}")


@chat_hooks.on_precompletion(priority=1)
def broken_hook(event: PreCompletionEvent) -> None:
    event.messages.clear()
    raise RuntimeError(user_agents.PASSWORD)


@chat_hooks.on_completion()
def loud(event: CompletionEvent) -> None:
    if "hooked" in event.text:
        event.text = event.text.upper()


chat_urlpatterns = [path("hooked/", user_agents.Streaming)]
