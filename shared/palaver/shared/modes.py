"""Modes of a chat: names for sampling parameters that belong together."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from palaver.shared.params import ChatParams

__all__ = ["ChatMode"]


class ChatMode(StrEnum):
    """How freely a model shall answer: `creative` is temperature 1.0, `precise` is 0.2, `neutral` the
    provider's own. A parameter that the job gives wins.
    """

    CREATIVE = "creative"
    NEUTRAL = "neutral"
    PRECISE = "precise"

    def over(self, params: ChatParams) -> ChatParams:
        """These parameters, with the mode's where they say nothing."""
        missing = {name: value for name, value in _DEFAULTS[self].items() if getattr(params, name) is None}
        return params.model_copy(update=missing) if missing else params


# Temperature alone: some models refuse it beside top_p.
_DEFAULTS: Final = MappingProxyType(
    {
        ChatMode.CREATIVE: {"temperature": 1.0},
        ChatMode.NEUTRAL: {},
        ChatMode.PRECISE: {"temperature": 0.2},
    }
)
