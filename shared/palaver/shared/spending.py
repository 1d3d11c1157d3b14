"""What a job has spent, model by model, as a worker notes it in the ledger; and what was spent on a day."""

from typing import Annotated

from pydantic import Field

from palaver.shared.document import Document
from palaver.shared.plain import Integer, Key, Real, Text, optional
from palaver.shared.responses import Usage

Count = Annotated[Integer, Field(ge=0)]


class Spent(Document):
    """What one model, `profile/model`, was asked: so many requests with this usage. What came from the cache
    is apart: nobody has spent it.
    """

    model: Text
    requests: Count = 0
    usage: Usage = Field(default_factory=Usage)
    hits: Count = 0
    cached: Usage | None = optional()


class Spending(Document):
    """What a job has spent so far. `said` counts the bytes of its answer up to which it is accounted for."""

    tenant: Key | None = optional()
    said: Count = 0
    models: list[Spent] = Field(default_factory=list)


class DailyUsage(Document):
    """What a tenant (None: jobs without one) has spent with a model, `profile/model`, on a day.

    `day` is UTC's, like `2026-11-21`; a job counts on that of its end. `requests` reached the provider,
    `hits` were answered from the cache and spent no tokens. `cost` is in US dollars, without the `unpriced`
    jobs, whose price is not known; None where none is known. Of `estimated` jobs a part of the tokens was not
    counted by the provider.
    """

    day: Text
    tenant: Key | None = optional()
    model: Text
    jobs: Count = 0
    requests: Count = 0
    hits: Count = 0
    input_tokens: Count = 0
    output_tokens: Count = 0
    cost: Annotated[Real, Field(ge=0)] | None = None
    unpriced: Count = 0
    estimated: Count = 0
