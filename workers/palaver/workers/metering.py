"""What requests use and cost, as their providers tell or by an estimate that is marked as one; and the sum
for a job. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from palaver.shared.errors import ValidationError
from palaver.shared.profiles import ModelRef
from palaver.shared.responses import Usage
from palaver.shared.spending import Spending, Spent
from palaver.shared.token_estimate import tokens_of
from palaver.workers.providers import GenerationRequest
from palaver.workers.token_counting import asked_for, thought_beyond

__all__ = ["Bill", "Meter", "Price", "Told", "expected"]

BYTES_A_TOKEN: Final = 4
"""Of UTF-8; a rule of thumb, for texts of any language, where a provider does not count."""

Price: TypeAlias = Callable[[Usage, str | None], float | None]
"""What a usage costs in US dollars, given the name under which the model answered; None: it is not known."""
Told: TypeAlias = Callable[[str | None, ModelRef, Usage], None]
"""Hears of each request for a tenant, and of its usage and cost."""


def expected(request: GenerationRequest, context: int | None, most: int | None = None) -> Usage:
    """What a request is expected to use, rather too much; of an answer of no bound nobody can know. `most`
    is what its provider asks for where it names no `max_tokens`.
    """
    answers = request.params.n or 1
    answer = asked_for(request.params.max_tokens or most, context) + thought_beyond(request)
    return Usage(
        input_tokens=tokens_of(request.messages, request.tools or ()),
        output_tokens=answers * answer,
        estimated=True,
    )


@dataclass(frozen=True, slots=True)
class Meter:
    """One request's."""

    request: GenerationRequest
    price: Price

    def read(self, told: Usage | None, *, said: int, whole: bool, model: str | None = None) -> Usage | None:
        """The usage and cost of the request, of which so many bytes were said; None if there was none.

        What the provider tells of an answer that is not `whole` may be the beginning only.
        """
        if told is not None and told.from_cache:
            usage = told if _counted(told) else self._estimated(told, said)
            return usage.model_copy(update={"from_cache": True, "cost": 0.0})
        if told is None and not said and not whole:
            return None  # refused, or nobody knows whether it was taken
        told = told or Usage()
        usage = told if whole and _counted(told) else self._estimated(told, said)
        return usage.model_copy(update={"cost": self.price(usage, model)})

    def _estimated(self, told: Usage, said: int) -> Usage:
        asked = told.input_tokens
        return Usage(
            input_tokens=_tokens(self._asked()) if asked is None else asked,
            output_tokens=max(told.output_tokens or 0, _tokens(said)),
            estimated=True,
            details=told.details,
        )

    def _asked(self) -> int:
        request = self.request
        texts = [message.text for message in request.messages]
        tools = [tool.to_json() for tool in request.tools or ()]
        return sum(len(text.encode()) for text in texts) + sum(map(len, tools))


class Bill:
    """What a job has spent, over all its workers. `note` and `restored` carry it from one to the next; `told`
    hear of each request of this worker.
    """

    def __init__(self, spending: Spending | None = None, *, told: Sequence[Told] = ()) -> None:
        spending = spending or Spending()
        self._told = told
        self.said = spending.said  # bytes of the answer that are accounted for
        self._tenant = spending.tenant
        self._models = {spent.model: spent for spent in spending.models}

    @classmethod
    def restored(cls, note: bytes, tenant: str | None, *, told: Sequence[Told] = ()) -> Bill:
        """The bill as an earlier worker has noted it; what another version wrote is none."""
        try:
            spending = Spending.model_validate_json(note) if note else Spending(tenant=tenant)
        except ValidationError:
            spending = Spending(tenant=tenant)
        return cls(spending, told=told)

    @property
    def usage(self) -> Usage | None:
        """All of it; None if nothing is known to have been spent."""
        total: Usage | None = None
        for spent in self._models.values():
            total = spent.usage.plus(total) if spent.requests else total
            total = spent.cached.plus(total) if spent.cached is not None else total
        return total

    @property
    def models(self) -> list[Spent]:
        """What each model was asked."""
        return list(self._models.values())

    def add(self, ref: ModelRef, usage: Usage) -> None:
        """One more request."""
        if usage.from_cache and not usage.total_tokens:
            return  # only looked for in the cache, and not there
        spent = self._models.get(str(ref)) or Spent(model=str(ref))
        if usage.from_cache:
            more = {"hits": spent.hits + 1, "cached": usage.plus(spent.cached)}
        else:
            known = spent.usage if spent.requests else None
            more = {"requests": spent.requests + 1, "usage": usage.plus(known)}
        self._models[str(ref)] = spent.model_copy(update=more)
        if not usage.from_cache:
            for told in self._told:
                told(self._tenant, ref, usage)

    def note(self) -> bytes:
        """For the ledger; empty while there is nothing to note."""
        if not self._models:
            return b""
        return Spending(tenant=self._tenant, said=self.said, models=self.models).to_json()


def _counted(usage: Usage) -> bool:
    return usage.input_tokens is not None and usage.output_tokens is not None


def _tokens(size: int) -> int:
    return -(-size // BYTES_A_TOKEN)
