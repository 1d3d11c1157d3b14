"""What clients may have sent to a provider as it is."""

from typing import Any

import pytest

from palaver.producer.gateway.extra_rules import COSTING, DOING, check_extra, check_params
from palaver.shared.errors import ValidationError


@pytest.mark.parametrize("name", sorted(DOING | COSTING))
def test_what_buys_or_does_is_refused(name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        check_params({"extra": {"top_k": 5, name: {"more": 1}}})
    assert refused.value.param == f"params.extra.{name}"


@pytest.mark.parametrize(
    "extra",
    [
        {"service_tier": "auto"},
        {"service_tier": "default"},
        {"store": False},
        {"plugins": None},
        {"top_a": 0.5, "min_p": 0.1, "safety_identifier": "x"},
        5,
        None,
    ],
)
def test_what_changes_nothing_is_taken(extra: Any) -> None:
    check_extra(extra)
