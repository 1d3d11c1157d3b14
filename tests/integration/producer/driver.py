"""A batch's driver that does what its test says: it claims lines, answers them, and stores the results."""

from collections.abc import Callable

from palaver.producer import BatchHandle, Client
from palaver.producer.background import background
from palaver.shared.batches import BatchLine, BatchResult, BatchStatus
from palaver.shared.errors import ErrorInfo, PalaverError
from palaver.shared.ids import new_token
from palaver.shared.ledger import LineResult, operations
from palaver.shared.responses import ChatResponse

Answer = Callable[[BatchLine], ChatResponse]


def echo(line: BatchLine) -> ChatResponse:
    return ChatResponse(content=line.job.messages[-1].text, model="stand-in/m")


def fail(_: BatchLine) -> ChatResponse:
    return ChatResponse.failed(PalaverError("no"))


class Driver:
    """One batch's driver."""

    def __init__(self, client: Client, handle: BatchHandle) -> None:
        self._ledger = client.ledger
        self._files = client.batch_files
        self._batch = handle.progress.batch
        self._token = new_token()
        self._tickets = 0
        self._slices: dict[int, list[bytes]] = {}

    def claim(self, room: int = 10_000) -> list[BatchLine]:
        """The next lines."""
        self._tickets += 1
        claiming = operations.claim_lines(
            self._ledger.keys,
            self._batch.batch_id,
            token=self._token,
            ticket=self._tickets,
            worker="stand-in",
            lease=60,
            room=room,
            window=room,
        )
        return [self._line(index) for index in self._ledger.run(claiming).lines]

    def answer(self, *lines: BatchLine, by: Answer = echo) -> None:
        """Report these lines' results."""
        noting = operations.note_results(
            self._ledger.keys,
            self._batch.batch_id,
            token=self._token,
            results=[_result(line, by(line)) for line in lines],
            retention=self._ledger.retention,
        )
        self._ledger.run(noting)

    def flush(self) -> None:
        """Store what was reported in a part."""
        keys, batch_id = self._ledger.keys, self._batch.batch_id
        gathered = self._ledger.run(
            operations.gather_results(keys, batch_id, token=self._token, most=10_000, most_bytes=1 << 30)
        )
        assert gathered is not None
        if gathered.results:
            put = self._files.put_part(batch_id, gathered.first, gathered.last, gathered.results)
            background().run(put)
        self._ledger.run(operations.flush_results(keys, batch_id, token=self._token, gathered=gathered))

    def end(self) -> BatchStatus | None:
        """Flush, and end the batch."""
        self.flush()
        ending = operations.end_batch(
            self._ledger.keys, self._batch.batch_id, token=self._token, retention=self._ledger.retention
        )
        return self._ledger.run(ending)

    def do_all(self, by: Answer = echo) -> None:
        """Everything that is left."""
        self.answer(*self.claim(), by=by)
        self.end()

    def _line(self, index: int) -> BatchLine:
        slices = background().run(self._files.slices(self._batch))
        lines = background().run(self._files.slice(self._batch, slices.place(index)[0]))
        return next(
            line for line in (BatchLine.parse(line, self._batch) for line in lines) if line.index == index
        )


def _result(line: BatchLine, response: ChatResponse) -> LineResult:
    result = BatchResult(index=line.index, custom_id=line.custom_id, response=response)
    error = b"" if response.success else (response.error_info or ErrorInfo.of(PalaverError())).to_json()
    return LineResult(index=line.index, line=result.to_line(), error=error, tokens=1)
