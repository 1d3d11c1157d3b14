"""Keyword arguments that a caller means for a provider, as the fields of a job; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from palaver.producer.prepare import JobFields
from palaver.shared.params import ChatParams

_FIELDS: Final = frozenset(JobFields.__annotations__) - {"params"}
_PARAMS: Final = frozenset(ChatParams.model_fields)


def job_fields(options: Mapping[str, Any], params: ChatParams | None = None) -> JobFields:
    """Fields of a job by their names, parameters by theirs; anything else reaches the provider as it is.

    `params` are defaults: an option wins over them, and over those in the option `params`. None is as good as
    left out. Raises ValidationError.
    """
    given = {name: value for name, value in options.items() if value is not None}
    base = (params or ChatParams()).merged(ChatParams.validated(given.pop("params", {}), at="params"))
    own = {name: value for name, value in given.items() if name not in _FIELDS}
    known = {name: own.pop(name) for name in _PARAMS & own.keys()}
    extra = {**own, **known.get("extra", {})}
    fields = {name: given[name] for name in _FIELDS & given.keys()}
    fields["params"] = base.merged({**known, "extra": extra} if extra else known)
    return cast("JobFields", fields)  # the job validates them
