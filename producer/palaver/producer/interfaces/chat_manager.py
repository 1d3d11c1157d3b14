"""Document 001's `ChatManager`: a conversation with a model, as an async context manager."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Self

from palaver.producer.handles import AsyncJobHandle
from palaver.producer.interfaces.chat_types import ChainOfThoughtPrompt, ModelConfig
from palaver.producer.interfaces.clients import Clients
from palaver.producer.interfaces.directory import OLLAMA, Directory
from palaver.producer.interfaces.options import job_fields
from palaver.producer.interfaces.sending import Sending, chat_errors
from palaver.producer.prepare import JobFields, check_timeout
from palaver.shared.error_info import ErrorInfo
from palaver.shared.errors import WrongStateError
from palaver.shared.ids import check_session_id, new_session_id
from palaver.shared.messages import ChatInput, MessageLike
from palaver.shared.modes import ChatMode
from palaver.shared.plain import refuse, require, shape
from palaver.shared.profiles import ModelRef
from palaver.shared.responses import Response
from palaver.shared.tools import EVERY, FunctionTool

Tools = Sequence[FunctionTool | Mapping[str, Any]]

ALL_TOOLS: Final[Tools] = ({"name": EVERY},)


class ChatManager:
    """`async with ChatManager(config) as chat:` a conversation; each message follows those before it.

    `config` names the model and defaults of its messages; without one, and without `initialize_model`, the
    default model answers. `session_id` goes on with a session of before. What a call or `config` says wins
    over the mode.

    Raises WrongStateError after its end, ValidationError for wrong input before anything is stored.
    """

    def __init__(
        self,
        config: ModelConfig | Mapping[str, Any] | None = None,
        *,
        session_id: str | None = None,
        clients: Clients | None = None,
    ) -> None:
        self.session_id = new_session_id() if session_id is None else session_id
        check_session_id(self.session_id)
        self._config = None if config is None else ModelConfig.validated(config, at="config")
        self._clients = clients or Clients.of_process()
        self._model: str | None = None
        self._ollama = False
        self._mode: ChatMode | None = None
        self._tools: Tools | None = None
        self._ready = self._closed = False

    async def initialize(self) -> None:
        """Make sure that Redis and the broker answer, and that the model of the config is there.

        May be called again, and is called by the first message otherwise. Raises as `initialize_model` does.
        """
        self._check_open()
        if self._ready:
            return
        await self._clients.awaited.check()
        if self._config is not None and self._model is None:
            await self.initialize_model(self._config.name)
        self._ready = True

    async def initialize_model(self, name: str) -> None:
        """Talk to this model from now on: one of the Ollama server, `profile/model`, or an alias.

        A worker asks for it first, which spends no token; of an alias one model has to be there. Raises
        ModelNotFoundError, ChatError if its provider does not answer, ServiceUnavailableError if no worker
        does.
        """
        self._check_open()
        if not isinstance(name, str) or not name.strip():
            refuse("name", f"must be the name of a model, not {shape(name)}")
        directory = await Directory.of(self._clients)
        refs = directory.locate(name)
        with chat_errors():
            await self._check_one(refs)
        self._model = name if name in directory.aliases else str(refs[0])
        self._ollama = all(directory.kinds.get(ref.profile) == OLLAMA for ref in refs)

    def send_message(self, message: MessageLike | ChatInput, **options: Any) -> Sending:
        """Send a message: `await` it for the Response, or iterate over it for chunks with `content`.

        Options are parameters (`temperature`), fields of a job (`deadline`), or reach the provider as they
        are.
        """
        self._check_open()
        return Sending(partial(self._submit, message, options))

    async def get_response_with_meta(self, message: MessageLike | ChatInput, **options: Any) -> Response:
        """The answer, with the model that gave it and the tokens that it took."""
        return await self.send_message(message, **options)

    async def execute_chain(
        self, prompt: ChainOfThoughtPrompt | Mapping[str, Any], **options: Any
    ) -> Response:
        """Have the model work through the steps: `reasoning` is what it said of them, `solution` the rest.

        Each finished step is a `progress` event of the session; an error names the step that failed.
        """
        chained = ChainOfThoughtPrompt.validated(prompt, at="prompt")
        return await self.send_message(chained.task, **options, chain=chained.chain)

    def enable_function_calling(self, tools: Tools | None = None) -> None:
        """Let the model call these tools from now on; without any, all that the workers have.

        Raises ValidationError for what is no list; the tools themselves are looked at with a message.
        """
        self._check_open()
        require("tools", tools, list | tuple | None, "a list of tools")
        self._tools = ALL_TOOLS if tools is None else list(tools)

    def set_mode(self, mode: ChatMode | str) -> None:
        """How freely the model answers from now on. Raises ValidationError."""
        self._check_open()
        if mode not in ChatMode.__members__.values():
            refuse("mode", f"must be one of {', '.join(ChatMode)}, not {shape(mode)}")
        self._mode = ChatMode(mode)

    async def cleanup(self) -> None:
        """The end: nothing can be sent after it. What was sent goes on. May be called twice."""
        self._closed = True

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.cleanup()

    async def _submit(self, message: MessageLike | ChatInput, options: Mapping[str, Any]) -> AsyncJobHandle:
        await self.initialize()
        fields = self._fields(options)
        if isinstance(message, ChatInput):
            if message.system_prompt is not None:
                fields["system"] = message.system_prompt
            message = message.message
        return await self._clients.awaited.submit(message, **fields)

    def _fields(self, options: Mapping[str, Any]) -> JobFields:
        config = self._config
        defaults: JobFields = {"session_id": self.session_id}
        if self._model is not None:
            defaults["model"] = self._model
        if self._mode is not None:
            defaults["mode"] = self._mode
        if self._tools is not None:
            defaults["tools"] = self._tools
        if config is not None and config.context_length is not None:
            defaults["history_limit"] = {"tokens": config.context_length}
        params = config.params(ollama=self._ollama) if config is not None else None
        return {**defaults, **job_fields(options, params)}

    async def _check_one(self, refs: Sequence[ModelRef]) -> None:
        """Raises what is wrong with the first of these models, if none is there."""
        problems: list[ErrorInfo] = []
        for ref in refs:
            health = await self._clients.awaited.probe(ref.profile, ref.model)
            if health.error is None:
                return
            problems.append(health.error)
        raise problems[0].exception()

    def _check_open(self) -> None:
        if self._closed:
            raise WrongStateError("the chat has ended: make another ChatManager")


@asynccontextmanager
async def managed_chat_session(
    model: str,
    timeout: float = 30.0,  # noqa: ASYNC109 -- the document's argument
    *,
    clients: Clients | None = None,
) -> AsyncGenerator[ChatManager, None]:
    """A ChatManager with this model, initialised within `timeout` seconds (else TimeoutError), and ended
    whatever happens. Raises ValidationError for what is no number of seconds.
    """
    check_timeout(timeout)
    manager = ChatManager(clients=clients)
    try:
        async with asyncio.timeout(timeout):
            await manager.initialize()
            await manager.initialize_model(model)
        yield manager
    finally:
        await manager.cleanup()
