"""`n`: several choices of one answer, which not every provider gives; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from palaver.producer.prepare import ALIAS, Announced
from palaver.shared.plain import refuse


def are_wanted(n: Any) -> bool:
    """Whether a request wants more than one; what is no number is refused where the job is made."""
    return isinstance(n, int) and n > 1


def check_choices(models: Iterable[str], served: Announced, param: str = "n") -> None:
    """Raises ValidationError if one of these models is known to give one choice: the answer would be paid
    for, and not be what was asked for. Of a provider that says nothing of it, the answer tells.
    """
    for model in models:
        if not _may_give_several(model, served):
            refuse(param, f"must be 1: {model[:64]!r} gives one choice at a time")


def _may_give_several(model: str, served: Announced) -> bool:
    known = served.get(model, {})
    if known.get("kind") == ALIAS:  # of models, not of other aliases
        return all(
            _may_give_several(target, served) for target in known.get("models") or () if target != model
        )
    profile = served.get(model.partition("/")[0], {})
    return profile.get("several") is not False
