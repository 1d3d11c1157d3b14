"""Document 002's abstract client: subclass it to add a provider, and name the class as a profile's kind."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from palaver.shared.responses import ChatResponse


class ChatClient(ABC):
    """A client of one API. Errors are values: all methods but `stream_chat` answer with an error
    `ChatResponse`.

    A subclass without one of the abstract methods cannot be made (TypeError). Keyword arguments are
    parameters for the provider.
    """

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

    async def generate_text(self, prompt: str, **kwargs: Any) -> ChatResponse:
        """Text for a prompt: `chat` without a system prompt, unless a subclass has something better."""
        return await self.chat(prompt, **kwargs)
