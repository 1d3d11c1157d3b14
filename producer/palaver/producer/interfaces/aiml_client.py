"""Document 002's `AIMLClient`: prompts in, responses out, errors as values. Each request is a job."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Final, Self

from palaver.producer.handles import AsyncJobHandle
from palaver.producer.interfaces.batched import answer_all
from palaver.producer.interfaces.clients import Clients
from palaver.producer.interfaces.directory import Directory
from palaver.producer.interfaces.endpoint import Endpoint
from palaver.producer.interfaces.options import job_fields
from palaver.producer.interfaces.settled import OnSettled, check_many, failed, result_or_cancel, settled
from palaver.producer.prepare import JobFields
from palaver.shared.accumulator import Accumulator
from palaver.shared.chat_client import ChatClient
from palaver.shared.errors import ChatClientError, PalaverError
from palaver.shared.plain import refuse, shape
from palaver.shared.responses import ChatResponse

DEFAULT_MODEL: Final = "gpt-3.5-turbo"
"""Where neither a call, nor the client, nor the profile's `models` name one."""

ANALYSIS: Final = "Analyse the text that follows. What is wanted: {analysis_type}.\n\n{text}"


class AIMLClient(ChatClient):
    """The AI/ML API, over the queue: by the profile of the kind `aiml`, or the one that has `api_key` and
    `base_url`, if they are given; else they are sealed, for which the constructor needs `PALAVER_SECRET`
    (ConfigurationError).

    `model` is the API's own name. Keyword arguments of a call are parameters
    (`temperature`), fields of a job (`deadline`, `tools`, `session_id`), or reach the API as they are.

    Nothing but `stream_chat` raises for what goes wrong with a request: the response tells it.
    """

    kind: ClassVar[str] = "aiml"

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        model: str | None = None,
        clients: Clients | None = None,
    ) -> None:
        self._clients = clients or Clients.of_process()
        endpoint = Endpoint(base_url=base_url, api_key=api_key, kind=self.kind)
        self._profile = self._clients.profile(endpoint)
        self._model = model
        self.last_response: ChatResponse | None = None
        """Of the stream that ended last: what it added up to, or how it failed."""

    async def chat(self, prompt: str, system_prompt: str | None = None, **kwargs: Any) -> ChatResponse:
        """The answer to a prompt."""
        return await settled(self._ask(prompt, system_prompt, kwargs))

    async def stream_chat(
        self, prompt: str, system_prompt: str | None = None, **kwargs: Any
    ) -> AsyncGenerator[str, None]:
        """The answer piece by piece. A failure raises ChatClientError after the text that came before it, and
        is `last_response`.
        """
        said = ""
        try:
            handle = await self._submit(prompt, system_prompt, kwargs)
            state = Accumulator(handle.job_id)
            async with aclosing(handle.chunks(state)) as chunks:
                async for _ in chunks:
                    fresh = _unsaid(state.text, said)
                    said += fresh
                    if fresh:
                        yield fresh
            if state.text != said:
                raise _other_words()
            self.last_response = state.response
        except PalaverError as error:
            self.last_response = failed(error)
            raise _stream_error(error) from error

    async def analyze_text(self, text: str, analysis_type: str = "general", **kwargs: Any) -> ChatResponse:
        """An analysis of the text, of any type; `metadata["analysis_type"]` repeats it."""
        response = await settled(self._analyze(text, analysis_type, kwargs))
        metadata = {**response.metadata, "analysis_type": analysis_type}
        return response.model_copy(update={"metadata": metadata})

    async def batch_process(
        self,
        prompts: Sequence[str],
        *,
        batch_size: int = 10,
        on_settled: OnSettled | None = None,
        **kwargs: Any,
    ) -> list[ChatResponse]:
        """The answers to all prompts, in their order; at most `batch_size` are asked for at once. They are
        one batch where there is a store of files, else jobs.

        Cancelled, it cancels what it has asked for. Raises ValidationError for a wrong `batch_size`
        and for one text.
        """
        waiting = check_many(prompts, name="prompts", batch_size=batch_size, on_settled=on_settled)
        try:
            fields = await self._fields(None, kwargs)
        except PalaverError as error:
            return [failed(error) for _ in waiting]
        return await answer_all(
            self._clients.awaited,
            waiting,
            fields,
            lambda prompt: self._ask(prompt, None, kwargs, keep=False),
            name="prompts",
            batch_size=batch_size,
            on_settled=on_settled,
        )

    async def health_check(self) -> ChatResponse:
        """Whether the API answers a worker, which spends no token; `metadata` has `ok` and `latency_ms`."""
        started = time.perf_counter()
        response = await settled(self._probe())
        told = {"ok": response.success, "latency_ms": (time.perf_counter() - started) * 1000}
        return response.model_copy(update={"metadata": {**told, **response.metadata}})

    async def aclose(self) -> None:
        """Nothing of its own is open: the connections are those of the process, or of `clients`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _ask(
        self, prompt: str, system_prompt: str | None, options: dict[str, Any], *, keep: bool = True
    ) -> ChatResponse:
        submitting = self._submit(prompt, system_prompt, options)
        return await (await submitting).result() if keep else await result_or_cancel(submitting)

    async def _submit(
        self, prompt: str, system_prompt: str | None, options: dict[str, Any]
    ) -> AsyncJobHandle:
        fields = await self._fields(system_prompt, options)
        return await self._clients.awaited.submit(prompt, **fields)

    async def _fields(self, system_prompt: str | None, options: dict[str, Any]) -> JobFields:
        fields = job_fields({**options, "system": system_prompt})
        profile = await self._served_by()
        fields["model"] = f"{profile}/{options.get('model') or self._model or self._first_of(profile)}"
        return fields

    async def _analyze(self, text: str, analysis_type: str, options: dict[str, Any]) -> ChatResponse:
        for name, value in (("text", text), ("analysis_type", analysis_type)):
            if not isinstance(value, str) or not value.strip():
                refuse(name, f"must be text, not {shape(value)}")
        return await self._ask(ANALYSIS.format(analysis_type=analysis_type, text=text), None, options)

    async def _probe(self) -> ChatResponse:
        health = await self._clients.awaited.probe(await self._served_by())
        if health.error is not None:
            return ChatResponse.failed(health.error, metadata={"latency_ms": health.latency_ms})
        return ChatResponse(metadata={"latency_ms": health.latency_ms})

    async def _served_by(self) -> str:
        """The profile. Raises ConfigurationError."""
        if self._profile is None:
            self._profile = (await Directory.of(self._clients)).profile_of(self.kind)
        return self._profile

    def _first_of(self, profile: str) -> str:
        catalog = self._clients.catalog
        known = catalog.profiles.get(profile) if catalog is not None else None
        return known.models[0] if known is not None and known.models else DEFAULT_MODEL


def _unsaid(text: str, said: str) -> str:
    """What follows in `text` after what was said. An answer that began anew says it once more, and what has
    been said cannot be taken back: ChatClientError if it is another one.
    """
    if text.startswith(said):
        return text[len(said) :]
    if said.startswith(text):
        return ""
    raise _other_words()


def _other_words() -> ChatClientError:
    return ChatClientError("the answer began anew, with other words than those that were said")


def _stream_error(error: PalaverError) -> ChatClientError:
    if isinstance(error, ChatClientError):
        return error
    told = ChatClientError(
        error.message, job_id=error.job_id, provider=error.provider, retryable=error.retryable
    )
    told.response = error.response
    return told
