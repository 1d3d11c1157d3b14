"""The doors of this folder: what a provider is asked, what a dialect and a decoder are, what a provider
must do.

A dialect is pure: requests and bytes in, values out. `HttpProvider` is the one thin shell that adds the
network.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from palaver.shared.errors import (
    MalformedStreamError,
    ModelNotFoundError,
    NotFoundError,
    PalaverError,
    StreamInterruptedError,
    TimeoutError,
)
from palaver.shared.jobs import Timeouts
from palaver.shared.messages import Message
from palaver.shared.params import ChatParams, ReasoningOptions
from palaver.shared.profiles import Profile
from palaver.shared.tools import FunctionTool, ToolChoice
from palaver.workers.frames import forget_frames
from palaver.workers.http import HttpClient, HttpRequest, HttpResponse
from palaver.workers.providers.parts import Part, WarningPart

_LARGEST_ERROR_BODY = 64 * 1024
_LARGEST_LIST_BODY = 8 * 1024 * 1024
_SHORTEST_SECRET = 8  # characters; shorter header values are words, not keys
_PATIENCE_AFTER_END = 0.25  # seconds for the HTTP end of an answer that is already whole
_LINE_BYTES = 50
"""A line that says nothing counts as so many more: short ones cost by their number. A body as large as an
event may be still fits, in lines of 17 bytes.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """The answer may come from the cache, and be kept there: among requests of this tenant, for `ttl` seconds
    (None: the configured time). With `only` it may come from nowhere else.
    """

    tenant: str | None = None
    ttl: float | None = None
    only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """The job for which a request is made."""

    session_id: str
    job_id: str
    tenant: str = ""
    is_line: bool = False  # of a batch, which waits as a whole
    in_code: bool = False  # an agent's code is in the middle of it, and perhaps of other requests
    may_move: bool = False  # another model may be asked at once
    goes_on: bool = False  # it has made a request before

    @property
    def may_park(self) -> bool:
        """Whether its job can be parked where it stands: it makes one request at a time."""
        return not (self.is_line or self.in_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One request to one model, provider-neutral."""

    model: str
    messages: list[Message]
    params: ChatParams = field(default_factory=ChatParams)
    tools: list[FunctionTool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningOptions | None = None  # before params.reasoning
    timeouts: Timeouts | None = None  # before the profile's, each
    prefix: str | None = None  # text of the answer that exists already; the provider shall go on after it
    stream: bool = True  # False: one whole body; the only way to get more than one choice
    cache: Caching | None = None  # None: the provider is to be asked
    asker: Asker | None = None  # None: nobody who could wait


@dataclass(frozen=True, slots=True)
class DialectRequest:
    """What a dialect makes of a request: path below the base URL, JSON body, and what it had to leave out."""

    path: str
    body: dict[str, Any] = field(repr=False)
    warnings: tuple[WarningPart, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A request that generates nothing: a GET, or with a body a POST."""

    path: str
    body: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a provider tells of one model: the size of its context in tokens, and all else as it says it."""

    name: str
    context_length: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Decoder(Protocol):
    """A response's bytes become parts. One per response; stateful, no I/O.

    `feed` never raises: what came before an error in the same read must arrive. The error comes out of
    `finish`.
    """

    @property
    def done(self) -> bool:
        """Nothing more is needed: the answer is whole, or failed. Stop reading and call `finish`."""
        ...

    @property
    def complete(self) -> bool:
        """The model finished; a connection that breaks now loses nothing but perhaps the usage."""
        ...

    @property
    def most_silent(self) -> int:
        """A stream of which more bytes in succession bring no part is malformed: it would go on for ever. A
        line counts as some bytes more.
        """
        ...

    def feed(self, data: bytes) -> list[Part]:
        """All parts of one network read."""
        ...

    def finish(self) -> list[Part]:
        """The remaining parts, FinishPart last. Raises the provider's error, MalformedStreamError, or
        StreamInterruptedError when the bytes ended before the answer did."""
        ...


class Dialect(Protocol):
    """A provider's wire format: pure, no I/O."""

    @property
    def base_url(self) -> str:
        """Where requests go: the profile's address, or the dialect's own."""
        ...

    def headers(self) -> dict[str, str]:
        """Headers of every request, the key's among them."""
        ...

    def request(self, request: GenerationRequest) -> DialectRequest:
        """The body of one generation. Raises ValidationError for what the dialect cannot say at all."""
        ...

    def decoder(self, request: GenerationRequest) -> Decoder:
        """A fresh decoder for the answer to `request`."""
        ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> PalaverError:
        """The error that a response of this status means."""
        ...

    def models_request(self) -> Question:
        """The question for all models; also the cheapest one that proves the provider alive."""
        ...

    def models(self, body: bytes) -> list[str] | None:
        """The models that can be asked for, from the answer's body; None if it does not tell."""
        ...

    def show_request(self, model: str) -> Question:
        """The question for one model."""
        ...

    def show(self, model: str, body: bytes) -> ModelInfo:
        """What the answer's body says of the model. Raises ModelNotFoundError where it says that there is
        none.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderHealth:
    """Whether a provider answers, without spending a token."""

    ok: bool
    latency_ms: float
    error: PalaverError | None = None


class Sink(Protocol):
    """Where the parts of an answer go."""

    def take(self, parts: list[Part]) -> bool:
        """Take the parts of one network read, without waiting. False: read no more before `room` returns."""
        ...

    async def room(self) -> None:
        """Return when there is room for more."""
        ...


class Provider:
    """A configured provider. Made by `registry.create` as `Class(profile, http)`, once per profile and
    process.
    """

    shows_images: bool = False
    """Whether its models are shown the image parts of messages; what they make of them is theirs."""
    continues_prefix: bool = False
    """Whether `GenerationRequest.prefix` is honoured: the answer goes on after it and does not repeat it."""

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        self.profile = profile
        self.http = http

    @property
    def address(self) -> str | None:
        """The URL below which requests go, for who asks what they cost; None: nowhere, or nobody knows."""
        return self.profile.base_url

    @property
    def default_max_tokens(self) -> int | None:
        """What it is asked for by a request that names no `max_tokens`; None: an answer of no bound."""
        return None

    async def answer(self, request: GenerationRequest, sink: Sink) -> None:
        """Give `sink` the whole answer; FinishPart is its last part. Raises the mapped PalaverError with
        `provider` set. Cancelled, it closes what it has opened.
        """
        async with aclosing(self.stream(request)) as stream:
            async for parts in stream:
                if not sink.take(parts):
                    await sink.room()

    def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        """The parts of the answer as they come: the plain way to write a provider, and what `answer` reads
        unless it is overridden.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither stream nor answer")

    @classmethod
    def known_models(cls, profile: Profile) -> list[str] | None:
        """The models that jobs may name, as far as they are known without asking anybody; None: any."""
        return profile.models

    @classmethod
    def gives_several(cls, profile: Profile) -> bool | None:
        """Whether `params.n` gets as many answers as it asks for; None: nobody knows."""
        return None

    def takes_prefix(self, request: GenerationRequest) -> bool:
        """`continues_prefix`, for a provider whose models differ in it, or that cannot do it beside something
        else of the request.
        """
        return self.continues_prefix

    def takes_schema(self, request: GenerationRequest) -> bool:
        """Whether the `json_schema` of `params.response_format` is honoured."""
        return False

    async def models(self) -> list[str] | None:
        """The models that can be asked for; None if the provider does not tell."""
        return None

    async def show(self, model: str) -> ModelInfo:
        """What the provider tells of one model. Raises ModelNotFoundError if there is none of this name."""
        names = await self.models()
        if names is not None and model not in names:
            raise model_not_found(model, self.profile.name)
        return ModelInfo(name=model)

    async def health(self) -> ProviderHealth:
        """Ask the cheapest question there is."""
        started = time.perf_counter()
        error: PalaverError | None = None
        try:
            await self.models()
        except PalaverError as failure:
            error = forget_frames(failure)
        return ProviderHealth(
            ok=error is None, latency_ms=(time.perf_counter() - started) * 1000, error=error
        )

    def timeouts(self, asked: Timeouts | None) -> Timeouts:
        """Those of a request; the profile's, where it names none."""
        return self.profile.timeouts if asked is None else asked.over(self.profile.timeouts)

    async def aclose(self) -> None:
        """Release what this provider alone holds; the HTTP client is shared and stays open."""
        return

    def label(self, error: PalaverError) -> None:
        """Put the provider's name into the error, and take keys out that the provider repeats in what it
        says.
        """
        error.provider = error.provider or self.profile.name
        error.args = (self._masked(error.message), *error.args[1:])
        if error.param is not None:
            error.param = self._masked(error.param)

    def _masked(self, text: str) -> str:
        for value in self.profile.secrets():
            for secret in (value, value.rpartition(" ")[2]):
                if len(secret) >= _SHORTEST_SECRET:
                    text = text.replace(secret, "***")
        return text


class HttpProvider(Provider):
    """The shell around a dialect: sends its request, feeds its decoder, maps its errors. Retries nothing."""

    shows_images = True  # every dialect of ours has a form for them

    def __init__(self, profile: Profile, http: HttpClient, dialect: Dialect) -> None:
        super().__init__(profile, http)
        self.dialect = dialect

    @property
    def address(self) -> str | None:
        """See `Provider.address`."""
        return self.dialect.base_url

    async def answer(self, request: GenerationRequest, sink: Sink) -> None:
        """See `Provider.answer`."""
        try:
            asked = self.dialect.request(request)
            decoder = self.dialect.decoder(request)
            if asked.warnings:
                sink.take(list(asked.warnings))
            async with await self.http.send(self._http_request(asked, request.timeouts)) as response:
                del asked  # the prompt is sent, and the stream may last for hours
                await self._raise_for_status(response)
                await _decode(response, decoder, sink)
            sink.take(decoder.finish())
        except PalaverError as error:
            self.label(error)
            raise

    def takes_schema(self, request: GenerationRequest) -> bool:
        """See `Provider.takes_schema`: a dialect says of what it cannot say."""
        return all(warning.param != "response_format" for warning in self.dialect.request(request).warnings)

    async def models(self) -> list[str] | None:
        """See `Provider.models`."""
        return self.dialect.models(await self._ask(self.dialect.models_request()))

    async def show(self, model: str) -> ModelInfo:
        """See `Provider.show`."""
        try:
            return self.dialect.show(model, await self._ask(self.dialect.show_request(model)))
        except NotFoundError as error:
            raise model_not_found(model, self.profile.name) from error

    async def _ask(self, question: Question) -> bytes:
        """The body of the answer to a question that is no generation."""
        try:
            async with await self.http.send(self._http_request(question, None)) as response:
                await self._raise_for_status(response)
                return await response.read(_LARGEST_LIST_BODY)
        except PalaverError as error:
            self.label(error)
            raise

    async def _raise_for_status(self, response: HttpResponse) -> None:
        if 200 <= response.status < 300:
            return
        try:
            body = await response.read(_LARGEST_ERROR_BODY)
        except (StreamInterruptedError, TimeoutError):
            body = b""  # the status says more than the reason why its body did not come
        raise self.dialect.error(response.status, response.headers, body)

    def _http_request(self, asked: DialectRequest | Question, timeouts: Timeouts | None) -> HttpRequest:
        return HttpRequest(
            method="GET" if asked.body is None else "POST",
            url=self.dialect.base_url + asked.path,
            headers=self.dialect.headers(),
            json=asked.body,
            timeouts=self.timeouts(timeouts),
            proxies=self.profile.proxies,
        )


async def _decode(response: HttpResponse, decoder: Decoder, sink: Sink) -> None:
    """Pour the body through the decoder into the sink, until the answer is whole, or the body ends."""

    silent = 0  # bytes in which nothing was said, and their lines

    def take(data: bytes) -> bool:
        nonlocal silent
        parts = decoder.feed(data)
        silent = 0 if parts else silent + len(data) + _LINE_BYTES * data.count(b"\n")
        if silent > decoder.most_silent:
            told = f"{silent} bytes (a line counts as {_LINE_BYTES} more) that say nothing."
            raise MalformedStreamError(f"The provider sent {told}")
        room = not parts or sink.take(parts)
        return room and not decoder.done

    try:
        while not await response.pour(take) and not decoder.done:
            await sink.room()
    except PalaverError:
        if not decoder.complete:
            raise
    if decoder.complete:
        # Mostly the end of the HTTP body has come with that of the answer; read, it frees the connection for
        # the next request. Usage may still be in it.
        await response.rest(lambda data: take(data) or True, _PATIENCE_AFTER_END)


def model_not_found(model: str, provider: str) -> ModelNotFoundError:
    """The error for a model that a provider does not have."""
    return ModelNotFoundError(f"{provider} has no model {model!r}", provider=provider, status_code=404)
