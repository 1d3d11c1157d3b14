"""Document 000's `ChatObject`: one turn of a conversation, from the user's words to the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self, TypeAlias

from palaver.producer.handles import AsyncJobHandle
from palaver.producer.interfaces.amrita_config import AmritaConfig, job_fields, wrapped
from palaver.producer.interfaces.calls import last_turn
from palaver.producer.interfaces.clients import Clients
from palaver.producer.interfaces.outlet import Callback, Outlet, Piece
from palaver.producer.prepare import JobFields
from palaver.shared.errors import JobCancelledError, PalaverError, WrongStateError
from palaver.shared.hooks import Hooks
from palaver.shared.ids import check_session_id, new_job_id
from palaver.shared.memory import MemoryModel
from palaver.shared.messages import Message, Role, parse_messages
from palaver.shared.plain import refuse, require, shape
from palaver.shared.presets import ModelPreset
from palaver.shared.responses import ChatResponse, UniResponse

UserInput: TypeAlias = str | list[dict[str, Any]]


class ChatObject:
    """One turn: `await chat.begin()` hands it in, `async with chat.begin():` waits for its end too.

    The answer goes to a callback, or to any number of readers (`get_response_generator`), each of which has
    it from the start. A completed turn is added to `data`, the memory; one that failed leaves it as it was.
    `stream_id` is the id of the job, which other programs can read as well. Use it on one event loop.
    Raises ValidationError for wrong input, ConfigurationError for a preset that nobody has configured.
    """

    def __init__(
        self,
        *,
        context: MemoryModel,
        session_id: str,
        user_input: UserInput,
        train: Message | Mapping[str, Any],
        callback: Callback | None = None,
        config: AmritaConfig | None = None,
        preset: ModelPreset | None = None,
        queue_size: int = 25,
        overflow_queue_size: int = 45,
        hooks: Hooks | None = None,
        clients: Clients | None = None,
    ) -> None:
        check_session_id(session_id)
        require("context", context, MemoryModel, "a MemoryModel, to which the turn is added")
        require("preset", preset, ModelPreset | None, "a ModelPreset")
        require("hooks", hooks, Hooks | None, "Hooks")
        require("callback", callback, Callable | None, "a function")
        _check_sizes(queue_size=queue_size, overflow_queue_size=overflow_queue_size)
        self.stream_id = new_job_id()
        self.session_id = session_id
        self.time = datetime.now(UTC)
        self.end_at: datetime | None = None
        self.data = context
        self.user_input = user_input
        self.user_message = parse_messages([{"role": "user", "content": user_input}], param="user_input")[0]
        self.config = AmritaConfig() if config is None else AmritaConfig.validated(config, at="config")
        self.context_wrap = wrapped(train, context, self.user_message, self.config)
        self.train = self.context_wrap.train.model_dump(mode="json", exclude_unset=True)
        self.response: UniResponse | None = None
        self._clients = clients or Clients.of_process()
        self._fields = job_fields(self.config, preset, self._clients)
        self._hooks = hooks or Hooks()
        self._outlet = Outlet(size=queue_size, room=overflow_queue_size)
        self._callback_fun = callback
        self._wait = False
        self._task: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None

    @property
    def timestamp(self) -> str:
        """When it was made, in words for a prompt."""
        return self.time.astimezone().strftime("%A, %Y-%m-%d %H:%M:%S %Z")

    @property
    def last_call(self) -> datetime:
        """When something happened to it last."""
        return self._outlet.last_call

    @property
    def is_running(self) -> bool:
        """Whether it has begun and not ended. Other programs ask `client.job(stream_id).status`."""
        return self._task is not None and not self.is_done

    @property
    def is_done(self) -> bool:
        """Whether it has ended, one way or another; never before the job's last event is in the log, unless a
        loop that ends has cancelled it.
        """
        return self._outlet.closed

    queue_done = is_done

    def begin(self, *, wait: bool = False) -> Self:
        """Hand the turn in, once, and return at once; awaited: when it is stored, with `wait` at its end.

        Raises WrongStateError where no event loop runs.
        """
        if self._task is None:
            _check_loop()
            self._wait = wait
            self._task = asyncio.create_task(self._run(), name=f"palaver-turn-{self.stream_id}")
            self._task.add_done_callback(self._ended)
            self._listen()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._begun().__await__()

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        if kind is None:
            await self.finish()

    async def finish(self) -> None:
        """Wait for the end, and until a callback has had everything. Raises the job's own error."""
        self._check_begun()
        if self._listener is not None:
            await asyncio.wait([self._listener])
        await self._outlet.end()

    async def cancel(self) -> None:
        """Have the job cancelled, if it has not ended: whoever waits for the end gets JobCancelledError then.

        Raises why, if the turn was refused.
        """
        self._check_begun()
        await self._outlet.accepted()
        if not self.is_done:
            await self._cancel_job()

    def get_response_generator(self) -> AsyncGenerator[Piece, None]:
        """The pieces of the response, live, from the first one; raises the job's own error after the last."""
        self._check_no_callback()
        self._check_begun()
        return self._outlet.pieces()

    async def full_response(self) -> str:
        """The whole text of the answer, as soon as there is one. Raises the job's own error."""
        self._check_no_callback()
        await self.finish()
        return self.response.content if self.response is not None else ""

    def set_callback_func(self, func: Callback) -> None:
        """Have every piece, from the first one, given to this function, one after the other.

        What it raises is told in the log; the pieces that follow come all the same.
        """
        if self._callback_fun is not None:
            raise WrongStateError("the callback function has already been set")
        require("func", func, Callable, "a function")
        self._callback_fun = func
        if self._task is not None:
            self._listen()

    async def yield_response(self, response: Piece) -> None:
        """Send a piece to the readers of this object, or its callback, and to nobody else."""
        self._outlet.say(response)

    async def _begun(self) -> Self:
        self._check_begun()
        await self._outlet.accepted()
        if self._wait:
            await self.finish()
        return self

    async def _run(self) -> None:
        try:
            handle = await self._submit()
            self._outlet.open(handle)
            await self._completed(await handle.result())
        except PalaverError as error:
            self._close(error)
        except Exception as error:
            self._close(error)
            raise
        except asyncio.CancelledError:
            with suppress(PalaverError):
                await self._cancel_job()
            raise
        else:
            self._close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # perhaps before its first line
            problem = "the turn was cancelled by the program that had begun it"
            self._close(JobCancelledError(problem, job_id=self.stream_id))

    def _close(self, error: BaseException | None = None) -> None:
        self._outlet.close(error)
        self.end_at = self.last_call

    async def _cancel_job(self) -> None:
        await (await self._clients.awaited.job(self.stream_id)).cancel()

    async def _submit(self) -> AsyncJobHandle:
        before, turn = last_turn(await self._hooks.before(self.context_wrap.unwrap()))
        ids: JobFields = {"session_id": self.session_id, "job_id": self.stream_id}
        fields: JobFields = {**self._fields, **ids, "history": before}
        return await self._clients.awaited.submit(turn, **fields)

    async def _completed(self, response: ChatResponse) -> None:
        text = await self._hooks.after(response.content)
        response = response.model_copy(update={"content": text})
        answer = Message(role=Role.ASSISTANT, content=text, tool_calls=response.tool_calls or None)
        self.data.messages = [*self.data.messages, self.user_message, answer]
        self.response = UniResponse.of(response)

    def _listen(self) -> None:
        if self._callback_fun is not None:
            self._listener = asyncio.create_task(self._deliver(self._callback_fun))

    async def _deliver(self, callback: Callback) -> None:
        try:
            await self._outlet.deliver(callback, job_id=self.stream_id)
        except PalaverError:
            return  # the turn's own error: whoever waits for its end gets it

    def _check_begun(self) -> None:
        if self._task is None:
            raise WrongStateError("the turn has not begun: call begin()")

    def _check_no_callback(self) -> None:
        if self._callback_fun is not None:
            raise WrongStateError("the callback function takes the response")


def _check_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise WrongStateError("no event loop runs here: call begin() in a coroutine") from None


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            refuse(name, f"must be a number of pieces, 1 or more, not {shape(size)}")
