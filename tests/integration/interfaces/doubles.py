"""A provider that tells what it was asked; in profiles `tests.integration.interfaces.doubles:Mirror`."""

from collections.abc import AsyncGenerator

import orjson

from palaver.workers.providers import FinishPart, GenerationRequest, Part, Provider, TextDelta


class Mirror(Provider):
    """Answers with the request itself, as JSON."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        asked = {
            "model": request.model,
            "messages": [message.payload() for message in request.messages],
            "params": request.params.model_dump(mode="json", exclude_defaults=True),
            "tools": [tool.name for tool in request.tools or ()],
            "reasoning": request.reasoning and request.reasoning.model_dump(mode="json"),
            "timeouts": request.timeouts and request.timeouts.model_dump(mode="json"),
        }
        yield [TextDelta(orjson.dumps(asked).decode()), FinishPart("stop", request.model)]


class Unwell(Mirror):
    """Has a bug where it is asked how it is."""

    async def models(self) -> list[str] | None:
        raise KeyError("a key of somebody's")
