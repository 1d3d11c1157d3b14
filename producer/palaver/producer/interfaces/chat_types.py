"""Document 001's types that stay with the caller."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from palaver.shared.document import Document
from palaver.shared.jobs import Chain, Steps
from palaver.shared.params import ChatParams
from palaver.shared.plain import Integer, Real, Text, optional


def _said(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


class ModelConfig(Document):
    """A model, and defaults of the jobs for it.

    `name` is that of a model on the Ollama server, `profile/model`, or an alias. `context_length` is how many
    tokens the model is given to work with, and how many of a history are sent at most.
    """

    name: Annotated[Text, Field(min_length=1)]
    context_length: Annotated[Integer, Field(gt=0)] | None = optional()
    temperature: Annotated[Real, Field(ge=0, le=2)] | None = optional()

    def params(self, *, ollama: bool) -> ChatParams:
        """The defaults as parameters of a job. Only Ollama is told a context length."""
        known: dict[str, Any] = {}
        if self.temperature is not None:
            known["temperature"] = self.temperature
        if ollama and self.context_length is not None:
            known["extra"] = {"options": {"num_ctx": self.context_length}}
        return ChatParams(**known)


class ChainOfThoughtPrompt(Document):
    """A task, and the steps in which a model is to work through it before it gives the solution."""

    task: Annotated[Text, AfterValidator(_said)]
    steps: Steps

    @property
    def chain(self) -> Chain:
        """The steps, as a job has them."""
        return Chain(steps=self.steps)
