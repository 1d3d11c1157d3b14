"""Document 002's abstract client: subclass it to add a provider, and name the class as a profile's kind."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self

from palaver.shared.profiles import Profile
from palaver.shared.responses import ChatResponse


class ChatClient(ABC):
    """A client of one API. Errors are values: all methods but `stream_chat` answer with an error
    `ChatResponse`.

    A subclass without one of the abstract methods cannot be made (TypeError). Keyword arguments are
    parameters for the provider.

    With `kind = "package.module:Class"` a worker makes one per process, and asks it on the event loop that
    serves every other stream: nothing in it may block.
    """

    @classmethod
    def from_profile(cls, profile: Profile) -> Self:
        """The client of a profile: made with its `options` as keyword arguments, and with its `base_url` and
        `api_key` where it has them.
        """
        address = {"base_url": profile.base_url, "api_key": profile.key()}
        given = {name: value for name, value in address.items() if value is not None}
        return cls(**{**given, **profile.options})

    @abstractmethod
    async def chat(self, prompt: str, system_prompt: str | None = None, **kwargs: Any) -> ChatResponse:
        """The answer to a prompt."""

    @abstractmethod
    def stream_chat(
        self, prompt: str, system_prompt: str | None = None, **kwargs: Any
    ) -> AsyncGenerator[str, None]:
        """The answer to a prompt, piece by piece.

        A failure raises ChatClientError after the text that was already received.
        """

    @abstractmethod
    async def analyze_text(self, text: str, analysis_type: str = "general", **kwargs: Any) -> ChatResponse:
        """An analysis of a text, such as `sentiment`; `metadata.analysis_type` repeats the type."""

    @abstractmethod
    async def batch_process(self, prompts: Sequence[str], **kwargs: Any) -> list[ChatResponse]:
        """The answers to all prompts, in their order; one failure fails no other."""

    @abstractmethod
    async def health_check(self) -> ChatResponse:
        """Whether the API answers; `metadata.latency_ms` says how fast."""

    async def aclose(self) -> None:
        """Release what the client holds; there is nothing unless a subclass has something."""
        return

    async def generate_text(self, prompt: str, **kwargs: Any) -> ChatResponse:
        """Text for a prompt: `chat` without a system prompt, unless a subclass has something better."""
        return await self.chat(prompt, **kwargs)
