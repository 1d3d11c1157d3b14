"""What clients may have sent to a provider as it is."""

from typing import Any

import pytest

from palaver.producer.gateway.extra_rules import COSTING, DOING, HARMLESS, check_extra, check_params
from palaver.shared.api_keys import ApiKey
from palaver.shared.errors import ValidationError


@pytest.mark.parametrize("name", sorted(DOING | COSTING))
def test_what_buys_or_does_is_refused(name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        check_params({"extra": {"top_k": 5, name: {"more": 1}}}, None)
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
    check_extra(extra, None)


def key(**fields: Any) -> ApiKey:
    return ApiKey.make(**fields)[1]


def test_the_lists_do_not_meet() -> None:
    assert not HARMLESS & (DOING | COSTING)
    check_extra(dict.fromkeys(HARMLESS, 1), key(tools=[]))


@pytest.mark.parametrize("fields", [{"models": ["a/m"]}, {"tools": []}, {"agents": ["docs/*"]}])
def test_a_restricted_key_has_what_is_known(fields: dict[str, Any]) -> None:
    check_extra({"min_p": 0.1, "of_next_year": None, "store": False}, key(**fields))
    with pytest.raises(ValidationError) as refused:
        check_extra({"min_p": 0.1, "of_next_year": True}, key(**fields))
    assert refused.value.param == "params.extra.of_next_year"
    check_extra({"of_next_year": True}, key(**fields, extra=["of_next_year"]))


def test_what_an_operator_has_named_is_taken() -> None:
    check_extra({"service_tier": "priority"}, key(extra=["service_tier"]))
    with pytest.raises(ValidationError):
        check_extra({"plugins": [], "service_tier": "priority"}, key(extra=["service_tier"]))
    check_extra({"of_next_year": True}, key(tenant="acme"))
