"""The whole input of a batch, checked in one pass and kept aside until it may be stored.

Memory stays the same however many lines there are, but for a digest of each custom id, some 100 bytes as
Python has it: accepted lines wait in a temporary file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Protocol, Self

from palaver.producer.batches.fields import defaults_of, draft_of
from palaver.producer.batches.lines import LineReader, custom_id_of
from palaver.producer.batches.scratch import Scratch
from palaver.producer.batches.source import Entry
from palaver.producer.prepare import AllowJob
from palaver.shared.batch_output import invalid_line
from palaver.shared.batches import SLICE, SLICE_BYTES, BatchJob, BatchLine
from palaver.shared.errors import BatchInputError, ValidationError
from palaver.shared.jobs import MAX_FILES, ChatJob
from palaver.shared.plain import refuse
from palaver.shared.settings import Settings
from palaver.shared.webhooks import check_webhook, networks

TOLD: Final = 100
"""Problems that an error lists; it counts all."""

_SPELLED_OUT: Final = 3


class CheckModels(Protocol):
    """Raises ValidationError for models that nobody serves, or that do not give `several` choices."""

    def __call__(self, models: Sequence[str], *, several: bool) -> None: ...


class Intake:
    """Takes entries one by one; afterwards it has the batch and its lines, or says all that is wrong.

    With `skip_invalid` wrong entries are left out and told in the batch's errors. To be closed. Raises
    ConfigurationError where there is no room for temporary files.
    """

    def __init__(
        self,
        settings: Settings,
        fields: Mapping[str, Any],
        check_models: CheckModels,
        *,
        allow: AllowJob | None = None,
        skip_invalid: bool = False,
    ) -> None:
        self._draft = draft_of(fields)
        if self._draft.webhook is not None:
            check_webhook(self._draft.webhook, networks(settings.webhook_networks))
        defaults = defaults_of(fields)
        limit = settings.max_document_bytes
        self._reader = LineReader(self._draft, defaults, max_bytes=limit)
        self._models = _Models(check_models)
        self._allow = allow
        self._skip_invalid = skip_invalid
        self._custom_ids: set[bytes] = set()
        self._files: set[str] = set()
        self._digest = hashlib.sha256()
        self._lines = Scratch()
        self._left_out = Scratch()
        self._total = self._wrong = 0
        self._problems: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._left_out.close()

    def take(self, entries: Iterable[Entry]) -> int:
        """Take all of these; how many they were."""
        count = 0
        for number, entry in entries:
            self.add(number, entry)
            count += 1
        return count

    def add(self, number: int, entry: object) -> None:
        """Take one entry, the `number`th of the input."""
        custom_id: object = None
        try:
            decoded = self._reader.decoded(entry)
            custom_id = custom_id_of(decoded)
            job = self._reader.job(decoded)
            self._models.check(job)
            if self._allow is not None:
                job = self._allow(job)
            name = f"line-{number}" if custom_id is None else custom_id
            line = BatchLine.validated({"index": self._total, "custom_id": name, "job": job})
            self._check_unique(line.custom_id)
        except ValidationError as error:
            self._leave_out(number, custom_id if isinstance(custom_id, str) else None, error)
        else:
            self._keep(line)

    def batch(self) -> BatchJob:
        """The batch of what was taken. Raises BatchInputError, and ValidationError if there was nothing."""
        if self._wrong and (not self._skip_invalid or not self._total):
            raise self._error()
        if not self._total:
            refuse("jobs", "must not be empty")
        told = {"input": self._digest.hexdigest(), "total": self._total, "invalid": self._wrong}
        return BatchJob.validated({**dict(self._draft), **told})

    def slices(self) -> Iterator[tuple[int, list[bytes]]]:
        """The accepted lines as they are stored, each slice with its first index."""
        first, lines, size = 0, list[bytes](), 0
        for line in self._lines:
            lines.append(line)
            size += len(line)
            if len(lines) == SLICE or size >= SLICE_BYTES:
                yield first, lines
                first, lines, size = first + len(lines), [], 0
        if lines:
            yield first, lines

    def left_out(self) -> Iterator[bytes]:
        """What is told of the entries that were left out."""
        yield from self._left_out

    def samples(self) -> Iterator[ChatJob]:
        """Jobs that name, together, all models and files of the batch, for as long as it may run."""
        whole = {"deadline": self._draft.completion_window, "messages": "-"}
        owner = {"user": self._draft.user, "tenant": self._draft.tenant}
        for models in self._models.seen:
            yield ChatJob(**whole, **owner, model=list(models) or None)
        files = iter(sorted(self._files))
        while some := list(islice(files, MAX_FILES)):
            yield ChatJob(**whole, **owner, files=some)

    def _keep(self, line: BatchLine) -> None:
        self._total += 1
        self._files.update(line.job.files)
        if self._skip_invalid or not self._wrong:
            stored = line.to_line()
            self._digest.update(stored)
            self._lines.append(stored)

    def _leave_out(self, number: int, custom_id: str | None, error: ValidationError) -> None:
        self._wrong += 1
        if len(self._problems) < TOLD:
            told = {"code": error.code, "param": error.param, "message": error.message}
            self._problems.append({"line": number, "custom_id": custom_id, **told})
        if self._skip_invalid:
            self._left_out.append(invalid_line(number, custom_id, error))

    def _check_unique(self, custom_id: str) -> None:
        digest = hashlib.blake2b(custom_id.encode(), digest_size=16).digest()
        if digest in self._custom_ids:
            refuse("custom_id", "was used in a line before")
        self._custom_ids.add(digest)

    def _error(self) -> BatchInputError:
        shown = self._problems[:_SPELLED_OUT]
        told = "; ".join(f"line {problem['line']}: {problem['message']}" for problem in shown)
        more = self._wrong - len(shown)
        count = f"{self._wrong} of {self._total + self._wrong} lines cannot be used. "
        message = count + told + (f"; and {more} more" if more else "")
        return BatchInputError(message, problems=self._problems, count=self._wrong, param="jobs")


class _Models:
    """The models that lines name, each list of them checked once, and once more for several choices."""

    def __init__(self, check: CheckModels) -> None:
        self._check = check
        self._wrong: dict[tuple[tuple[str, ...], bool], tuple[str, str] | None] = {}

    @property
    def seen(self) -> set[tuple[str, ...]]:
        """Those that can be asked."""
        return {models for (models, _), problem in self._wrong.items() if problem is None}

    def check(self, job: ChatJob) -> None:
        models, several = tuple(job.models), (job.params.n or 1) > 1
        if (models, several) not in self._wrong:
            self._wrong[models, several] = self._problem(models, several=several)
        if (problem := self._wrong[models, several]) is not None:
            refuse(*problem)

    def _problem(self, models: Sequence[str], *, several: bool) -> tuple[str, str] | None:
        """The parameter, and what is wrong with it."""
        try:
            self._check(models, several=several)
        except ValidationError as error:
            param = error.param or "model"
            return param, error.message.removeprefix(f"{param}: ")
        return None
