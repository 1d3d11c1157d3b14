"""A provider of one's own: a `palaver.shared.ChatClient`, named by a profile's `kind`."""

import asyncio
import builtins
import inspect
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from palaver.shared.chat_client import ChatClient
from palaver.shared.errors import ChatClientError, PalaverError, TimeoutError
from palaver.shared.messages import Role
from palaver.shared.plain import shape
from palaver.shared.profiles import Profile
from palaver.shared.responses import ChatResponse
from palaver.workers.http import HttpClient
from palaver.workers.providers.base import GenerationRequest, Provider, ProviderHealth
from palaver.workers.providers.guard import guarded
from palaver.workers.providers.parts import (
    FinishPart,
    MetadataPart,
    Part,
    ReasoningDelta,
    TextDelta,
    ToolCallPart,
    UsagePart,
)
from palaver.workers.providers.wire import unsupported

_RAW = ("return_raw", "return_raw_events")
_NO_PARAMETERS = frozenset(("extra", "include_usage", *_RAW))


class ClientProvider(Provider):
    """Asks a client: by `stream_chat`, or by `chat` where a stream of texts could not hold the answer.

    The client gets the last message as its prompt, the system messages, and as keyword arguments `model`, the
    parameters that are set, what the job says of `tools`, and `messages` where there is more of them.
    """

    def __init__(self, profile: Profile, http: HttpClient, client: ChatClient) -> None:
        super().__init__(profile, http)
        self.client = client

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        """See `Provider.stream`."""
        prompt, system, more = _asked(request)
        if warnings := [unsupported(name) for name in _RAW if getattr(request.params, name)]:
            yield [*warnings]
        if request.tools or not request.stream:
            with guarded(self, "chat"):
                answer = await self.client.chat(prompt, system, **more)
                yield _parts(self._checked(answer, "chat"), request.model)
            return
        silence = self.timeouts(request.timeouts).read_seconds
        with guarded(self, "stream_chat"):
            async with aclosing(self._pieces(self.client.stream_chat(prompt, system, **more))) as pieces:
                async for piece in _patiently(pieces, silence):
                    if not isinstance(piece, str):
                        raise ChatClientError(
                            f"stream_chat of {self.profile.kind} gave {shape(piece)}, no text"
                        )
                    if piece:
                        yield [TextDelta(piece)]
        yield [FinishPart("stop", request.model)]

    async def health(self) -> ProviderHealth:
        """See `Provider.health`."""
        try:
            with guarded(self, "health_check"):
                answer = self._checked(await self.client.health_check(), "health_check")
                if answer.is_error:
                    raise _error(answer)
        except PalaverError as error:
            return ProviderHealth(ok=False, latency_ms=0.0, error=error)
        latency = answer.metadata.get("latency_ms")
        return ProviderHealth(ok=True, latency_ms=latency if isinstance(latency, int | float) else 0.0)

    async def aclose(self) -> None:
        """Close the client."""
        await self.client.aclose()

    def _checked(self, answer: Any, method: str) -> ChatResponse:
        if not isinstance(answer, ChatResponse):
            raise ChatClientError(f"{method} of {self.profile.kind} gave {shape(answer)}, no ChatResponse")
        return answer

    def _pieces(self, stream: Any) -> AsyncGenerator[str, None]:
        if isinstance(stream, AsyncGenerator):
            return stream
        if inspect.iscoroutine(stream):
            stream.close()
        raise ChatClientError(f"stream_chat of {self.profile.kind} is no async generator")


def _asked(request: GenerationRequest) -> tuple[str, str | None, dict[str, Any]]:
    """Prompt, system prompt and keyword arguments."""
    system = [message.text for message in request.messages if message.role in (Role.SYSTEM, Role.DEVELOPER)]
    others = [message for message in request.messages if message.role not in (Role.SYSTEM, Role.DEVELOPER)]
    params = request.params.model_dump(exclude_none=True, exclude=set(_NO_PARAMETERS))
    more: dict[str, Any] = {**request.params.extra, "model": request.model, **params}
    if request.reasoning is not None:
        more["reasoning"] = request.reasoning.model_dump()
    if request.tools:
        more["tools"] = [tool.to_dict() for tool in request.tools]
    if request.tools and request.tool_choice is not None:
        more["tool_choice"] = request.tool_choice.to_dict()
    if len(others) > 1 or request.prefix:
        begun = [{"role": "assistant", "content": request.prefix}] if request.prefix else []
        more["messages"] = [message.payload() for message in request.messages] + begun
    return (others[-1].text if others else ""), ("\n\n".join(system) or None), more


async def _patiently(pieces: AsyncGenerator[str, None], seconds: float) -> AsyncIterator[str]:
    """The pieces, each of which may take so long."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except builtins.TimeoutError as error:
            if isinstance(error, PalaverError):
                raise
            failure = TimeoutError(f"nothing came from the client for {seconds:g} s")
        else:
            yield piece
            continue
        raise failure


def _parts(answer: ChatResponse, model: str) -> list[Part]:
    if answer.is_error:
        raise _error(answer)
    parts: list[Part] = [ReasoningDelta(answer.reasoning)] if answer.reasoning else []
    if answer.content:
        parts.append(TextDelta(answer.content))
    parts += [ToolCallPart(call.id, call.name, call.arguments) for call in answer.tool_calls]
    if answer.usage is not None:
        parts.append(UsagePart(answer.usage))
    told = {name: value for name, value in answer.metadata.items() if name not in ("model", "usage")}
    if told:
        parts.append(MetadataPart(told))
    reason = answer.finish_reason or ("tool_calls" if answer.tool_calls else "stop")
    return [*parts, FinishPart(str(reason), answer.model or model)]


def _error(answer: ChatResponse) -> PalaverError:
    return answer.error_info.exception() if answer.error_info else ChatClientError(answer.error)
