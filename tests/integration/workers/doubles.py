"""Providers for tests of the engine, named in profiles as `tests.integration.workers.doubles:Class`."""

import asyncio
import re
import sys
from collections.abc import AsyncGenerator
from functools import cached_property

from palaver.shared.errors import StreamInterruptedError, error_for_status
from palaver.shared.messages import Role
from palaver.shared.responses import Usage
from palaver.workers.providers import (
    FinishPart,
    GenerationRequest,
    Part,
    Provider,
    ReasoningDelta,
    TextDelta,
    ToolCallPart,
    UsagePart,
)
from palaver.workers.providers.scripted import ScriptedProvider

PREFIX = "tests.integration.workers.doubles:"


class Buggy(Provider):
    """Says two words and then does what no provider should."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        yield [TextDelta("two words")]
        raise KeyError(f"a secret: {request.messages[-1].text}")


class Leaving(Provider):
    """Wants to end the program that asks it, also when it is closed."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        sys.exit(request.messages[-1].text)
        yield []

    async def aclose(self) -> None:
        sys.exit()


class Cancelling(Provider):
    """Cancels what it waits for itself."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        waiting = asyncio.create_task(asyncio.sleep(600))
        asyncio.get_running_loop().call_soon(waiting.cancel)
        await waiting
        yield []


class Unfit(Provider):
    """A whole answer beside which it says what no JSON can carry."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        yield [TextDelta("two words"), FinishPart("stop", "half \ud83d")]


class Recording(Provider):
    """Answers `ok` and remembers what it was asked."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        self.asked.append(request)
        yield [TextDelta("ok"), FinishPart("stop", "recorded-1")]

    @cached_property
    def asked(self) -> list[GenerationRequest]:
        """The requests so far."""
        return []


class Held(Recording):
    """Answers when it is let."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        async for parts in super().stream(request):
            await self.gate.wait()
            yield parts

    @cached_property
    def gate(self) -> asyncio.Event:
        """The test's to set."""
        return asyncio.Event()


class Flood(Provider):
    """Never ends, never waits for anything but its reader, and counts."""

    said = 0
    closed = False

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        try:
            while True:
                await asyncio.sleep(0)
                self.said += 1
                yield [TextDelta("x" * 1024)]
        finally:
            self.closed = True


class Silent(Provider):
    """Says one word and then nothing for ever."""

    asked = closed = False

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        self.asked = True
        try:
            yield [TextDelta("one")]
            await asyncio.Event().wait()
        finally:
            self.closed = True


class Calling(Provider):
    """Says a word and calls a tool; with the option `waits` it then says nothing for ever."""

    continues_prefix = True

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        if not request.prefix:
            yield [TextDelta("one")]
        yield [ToolCallPart("c1", "look", {})]
        if self.profile.options.get("waits"):
            await asyncio.Event().wait()
        yield [FinishPart("tool_calls", "m")]


class Gated(Provider):
    """Says a word, and calls a tool when it is let."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        yield [TextDelta("one")]
        await self.gate.wait()
        yield [
            ToolCallPart("c1", "look", {}),
            UsagePart(Usage(input_tokens=3)),
            FinishPart("tool_calls", "m"),
        ]

    @cached_property
    def gate(self) -> asyncio.Event:
        """The test's to set."""
        return asyncio.Event()


class Anew(Gated):
    """Says a word and is cut off; the next answer begins when it is let."""

    asked = 0

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        self.asked += 1
        if self.asked == 1:
            yield [TextDelta("one")]
            raise StreamInterruptedError("cut")
        await self.gate.wait()
        yield [TextDelta("two"), FinishPart("stop", "m")]


class Truncating(Provider):
    """Says one number at a time; the third ends the answer. Remembers what it was asked."""

    asked: list[GenerationRequest]

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        self.__dict__.setdefault("asked", []).append(request)
        number = len(self.asked)
        yield [TextDelta(f"{number}"), FinishPart("length" if number < 3 else "stop", "m")]


class Scripting(ScriptedProvider):
    """Plays scripts, and remembers what it was asked."""

    asked: list[GenerationRequest]

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        self.__dict__.setdefault("asked", []).append(request)
        async for parts in super().stream(request):
            yield parts


class Garbled(Provider):
    """Calls a tool, all in one read, with arguments that were cut, and apologises for it."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        if request.messages[-1].role is Role.TOOL:
            yield [TextDelta("sorry"), FinishPart("stop", "m")]
        else:
            call = ToolCallPart("c1", "add", '{"a": 1')
            yield [TextDelta("Well."), call, FinishPart("tool_calls", "m")]


class Answering(Provider):
    """Gives the profile's `answers` in turn, the last for all that follow, word by word; an object among them
    may have a `thought`, a `call`, a `reason` to finish, a `status` to fail with, and may be `cut`. With
    `schema` it takes one. Remembers what it was asked.
    """

    continues_prefix = True
    asked: list[GenerationRequest]

    def takes_schema(self, request: GenerationRequest) -> bool:
        return bool(self.profile.options.get("schema"))

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        asked = self.__dict__.setdefault("asked", [])
        answers = self.profile.options["answers"]
        answer = answers[min(len(asked), len(answers) - 1)]
        asked.append(request)
        told = answer if isinstance(answer, dict) else {"text": answer}
        if "status" in told:
            raise error_for_status(told["status"], "no")
        if told.get("waits"):
            await asyncio.Event().wait()
        if "thought" in told:
            yield [ReasoningDelta(told["thought"])]
        for piece in re.findall(r"\S*\s*", told["text"]):
            yield [TextDelta(piece)]
        if told.get("cut"):
            raise StreamInterruptedError
        yield [UsagePart(Usage(input_tokens=1, output_tokens=1))]
        if "call" in told:
            yield [ToolCallPart("c1", told["call"], {})]
        yield [FinishPart(told.get("reason", "tool_calls" if "call" in told else "stop"), "answering-1")]
