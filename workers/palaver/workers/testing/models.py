"""The models of a test: they answer as the test says, and remember what they were asked."""

from __future__ import annotations

import re
from collections import deque
from typing import Any, Final

from palaver.shared.plain import refuse
from palaver.shared.profiles import SCRIPTED, Profile
from palaver.workers.http import HttpClient
from palaver.workers.providers import GenerationRequest, Provider, create
from palaver.workers.providers.registry import KINDS
from palaver.workers.providers.script import Script
from palaver.workers.providers.scripted import ScriptedProvider

__all__ = ["Models"]

_WORD: Final = re.compile(r"\s*\S+|\s+\Z")


class Models:
    """All models of a system. Each request takes the next reply; without one, the last message is said once
    more.
    """

    def __init__(self) -> None:
        self.requests: list[GenerationRequest] = []
        """What was asked so far, each request of a job by itself: `messages`, `model`, `params`, `tools` …"""
        self._replies: deque[Script] = deque()

    def reply(self, text: str | None = None, **script: Any) -> None:
        """Have the next request, after those that were told before, answered with this text.

        Or by the fields of a script: `reasoning="…"`, `tool_calls=[{"name": "look", "arguments": {}}]`,
        `finish_reason="length"`, `deltas=["piece", " by piece"]`, `usage={…}`, `rate=20` (deltas a second),
        `fail={"status": 500}` or `{"kind": "cut", "after": 2}`. Raises ValidationError.
        """
        if text is not None:
            if "deltas" in script:
                refuse("deltas", "cannot be given beside a text")
            script["deltas"] = _WORD.findall(text)
        self._replies.append(Script.validated(script, at="reply"))

    def make(self, profile: Profile, http: HttpClient) -> Provider:
        """The double of a built-in provider; a class of one's own is made as it is."""
        if profile.kind not in KINDS:
            return create(profile, http)
        options = profile.options if profile.kind == SCRIPTED else {}
        return _Double(profile.model_copy(update={"options": {"rate": 0, **options}}), http, self)

    def next_reply(self, request: GenerationRequest) -> Script | None:
        """The reply to a request, which is remembered; None if the test has told none."""
        self.requests.append(request)
        return self._replies.popleft() if self._replies else None


class _Double(ScriptedProvider):
    """Stands for a provider, whatever its kind."""

    def __init__(self, profile: Profile, http: HttpClient, models: Models) -> None:
        super().__init__(profile, http)
        self._models = models

    def script_of(self, request: GenerationRequest) -> Script:
        """The reply of the test; of the scripted provider, else, what it says by itself."""
        reply = self._models.next_reply(request)
        if reply is not None:
            return reply
        if self.profile.kind == SCRIPTED:
            return super().script_of(request)
        return Script(deltas=_WORD.findall(request.messages[-1].text))

    async def models(self) -> list[str] | None:
        """Those that the profile lists; without a list, any."""
        return await super().models() if self.profile.kind == SCRIPTED else self.profile.models
