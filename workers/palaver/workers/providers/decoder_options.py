"""What a decoder is told before the first byte."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from palaver.shared.params import ChatParams
from palaver.shared.profiles import Profile
from palaver.workers.providers import wire

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""A larger event, line or body is taken for a malformed stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderOptions:
    """The defaults are those of a profile and a job that ask for nothing."""

    think_tags: bool = False  # text between <think> tags is reasoning
    max_event_bytes: int = MAX_EVENT_BYTES
    raw_events: bool = False  # keep each of the provider's events beside its delta
    raw_body: bool = False  # keep an answer that comes as one body
    after: str = ""  # white space at the end of the prefix that the provider could not be sent

    @classmethod
    def of(cls, profile: Profile) -> DecoderOptions:
        """What the profile's options say. Raises ConfigurationError."""
        return cls(
            think_tags=wire.flag(profile, "think_tags", False),
            max_event_bytes=wire.option(profile, "max_event_bytes", MAX_EVENT_BYTES),
        )

    def asked(self, params: ChatParams) -> DecoderOptions:
        """The same, with what a job wants to keep."""
        return replace(self, raw_events=params.return_raw_events, raw_body=params.return_raw)
