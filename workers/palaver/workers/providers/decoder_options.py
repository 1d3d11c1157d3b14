"""What a decoder is told before the first byte."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from palaver.shared.profiles import Profile
from palaver.workers.providers import wire
from palaver.workers.providers.base import GenerationRequest
from palaver.workers.providers.text import ThinkSplitter

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""A larger event, line or body is taken for a malformed stream."""

OPEN: Final = "open"
"""The value of `think_tags` for models whose prompt ends with the opening tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderOptions:
    """The defaults are those of a profile and a job that ask for nothing."""

    think_tags: bool = False  # text between <think> tags is reasoning …
    think_open: bool = False  # … and the answer begins between them
    max_event_bytes: int = MAX_EVENT_BYTES
    raw_events: bool = False  # keep each of the provider's events beside its delta
    raw_body: bool = False  # keep an answer that comes as one body
    after: str = ""  # white space at the end of the prefix that the provider could not be sent

    @classmethod
    def of(cls, profile: Profile) -> DecoderOptions:
        """What the profile's options say. Raises ConfigurationError."""
        return cls(
            think_tags=profile.options.get("think_tags") == OPEN or wire.flag(profile, "think_tags", False),
            think_open=profile.options.get("think_tags") == OPEN,
            max_event_bytes=wire.option(profile, "max_event_bytes", MAX_EVENT_BYTES),
        )

    def asked(self, request: GenerationRequest) -> DecoderOptions:
        """The same, with what a job wants to keep. An answer that is gone on with has thought already."""
        params = request.params
        return replace(
            self,
            think_open=self.think_open and not request.prefix,
            raw_events=params.return_raw_events,
            raw_body=params.return_raw,
        )

    def splitter(self) -> ThinkSplitter | None:
        """What tells thinking from the answer; None where no tags do."""
        return ThinkSplitter(opened=self.think_open) if self.think_tags else None
