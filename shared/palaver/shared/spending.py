"""What a job has spent, model by model: what a worker notes of it in the ledger."""

from typing import Annotated

from pydantic import Field

from palaver.shared.document import Document
from palaver.shared.jobs import Key
from palaver.shared.plain import Integer, Text, optional
from palaver.shared.responses import Usage

Count = Annotated[Integer, Field(ge=0)]


class Spent(Document):
    """What one model, `profile/model`, was asked: so many requests, of which so many hits of the cache."""

    model: Text
    requests: Count = 0
    hits: Count = 0
    usage: Usage = Field(default_factory=Usage)


class Spending(Document):
    """What a job has spent so far. `said` counts the bytes of its answer up to which it is accounted for."""

    tenant: Key | None = optional()
    said: Count = 0
    models: list[Spent] = Field(default_factory=list)
