"""What requests cost: own prices, those of the package, and where nobody knows."""

import sys
from typing import Any

import pytest

from palaver.shared.errors import ValidationError
from palaver.shared.profiles import Catalog, ModelPrice
from palaver.shared.responses import Usage
from palaver.workers.http import HttpClient
from palaver.workers.prices import Prices, cost_at
from palaver.workers.providers import create

MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


async def cost(model: str, usage: Usage = MILLION, *, answered: str | None = None, **profile: Any) -> Any:
    catalog = Catalog.of({"p": {"kind": "openai", **profile}})
    http = HttpClient()
    price = await Prices().of(create(catalog.profile("p"), http), model)
    await http.aclose()
    return price(usage, answered)


def test_own_prices_are_dollars_for_a_million_tokens() -> None:
    assert cost_at(ModelPrice(input=2.5, output=10), MILLION) == 12.5
    assert cost_at(ModelPrice(input=0.15, output=0.6), Usage(input_tokens=1, output_tokens=1)) == 7.5e-7


@pytest.mark.parametrize(
    "details",
    [
        {"prompt_tokens_details": {"cached_tokens": 400_000}},
        {"input_tokens_details": {"cached_tokens": 400_000}},
        {"cache_read_input_tokens": 400_000},
        {"prompt_cache_hit_tokens": 400_000},
    ],
)
def test_what_the_provider_had_cached_is_cheaper(details: dict[str, Any]) -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=0, details=details)
    assert cost_at(ModelPrice(input=10, output=1, cached_input=1), usage) == 6.4
    assert cost_at(ModelPrice(input=10, output=1), usage) == 10


def test_no_more_of_a_prompt_was_cached_than_there_is() -> None:
    usage = Usage(input_tokens=5, details={"prompt_tokens_details": {"cached_tokens": 10**15}})
    assert cost_at(ModelPrice(input=10, output=1), usage) == 5e-5


async def test_a_profiles_prices_come_before_all_others() -> None:
    prices = {"gpt-4o": {"input": 1, "output": 2}, "*": {"input": 0, "output": 0}}
    assert await cost("gpt-4o", prices=prices) == 3
    assert await cost("any", prices=prices) == 0


async def test_the_package_knows_public_providers_by_their_address() -> None:
    pytest.importorskip("genai_prices")
    openai, azure = await cost("gpt-4o"), await cost("mine", answered="gpt-4o-2024-08-06")
    assert openai == azure > 1
    cached = MILLION.model_copy(update={"details": {"prompt_tokens_details": {"cached_tokens": 10**6}}})
    assert await cost("gpt-4o", cached) < openai
    anthropic = await cost("claude-sonnet-4-5", kind="anthropic")
    written = MILLION.model_copy(update={"details": {"cache_creation_input_tokens": 10**6}})
    assert await cost("claude-sonnet-4-5", written, kind="anthropic") > anthropic > 1


@pytest.mark.parametrize(
    "profile",
    [
        {"base_url": "http://127.0.0.1:8000/v1"},
        {"base_url": "http://vllm/v1"},
        {"base_url": "http://10.0.0.7/v1"},
        {"base_url": "https://models.example.org/v1"},
        {"kind": "ollama"},
        {"kind": "scripted"},
    ],
    ids=str,
)
async def test_a_model_of_that_name_elsewhere_has_no_known_price(profile: dict[str, Any]) -> None:
    assert await cost("gpt-4o", **profile) is None


async def test_an_unknown_model_has_no_known_price() -> None:
    assert await cost("no-such-model", answered="nor-this") is None


async def test_without_the_package_only_own_prices_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert await cost("gpt-4o") is None
    assert await cost("gpt-4o", prices={"*": {"input": 1, "output": 1}}) == 2


@pytest.mark.parametrize("wrong", [{"input": -1, "output": 1}, {"input": 1}, {"input": True, "output": 1}, 3])
def test_a_wrong_price_is_refused_with_its_place(wrong: Any) -> None:
    with pytest.raises(ValidationError, match=r"providers\.p\.prices"):
        Catalog.of({"p": {"kind": "openai", "prices": {"m": wrong}}})
