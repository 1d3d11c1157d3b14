"""Agents of the workers in `test_agents`: each says the numbered words that its message asks for."""

import asyncio
import json
import time
from typing import Any

from pydantic import BaseModel

from palaver.workers.agents import Agent, ResponseStream, ask_model, display_widget, path


class Walking(Agent):
    class Context(BaseModel):
        born: float

    def create_context(self) -> Context:
        return self.Context(born=time.time())

    async def get_response(self, message: str, session_context: dict[str, Any], **kwargs: Any) -> str:
        asked = json.loads(message)
        with ResponseStream() as stream:
            display_widget("born", self.context.born)
            for number in range(asked["n"]):
                stream.write(f" w{number}")
                await asyncio.sleep(1 / asked["rate"])
        return stream.content


def plain(message: str, session_context: dict[str, Any]) -> None:
    asked, stream = json.loads(message), ResponseStream()
    for number in range(asked["n"]):
        stream.write(f" w{number}")
        time.sleep(1 / asked["rate"])


async def asking(message: str, session_context: dict[str, Any]) -> str:
    return (await ask_model(message)).content


chat_urlpatterns = [path("walking/", Walking), path("plain/", plain), path("asking/", asking)]
"""Coroutine, thread, model."""
