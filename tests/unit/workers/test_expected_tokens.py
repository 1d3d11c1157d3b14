"""How many tokens are expected of a request before it is made: no fewer than its provider is asked for."""

from typing import Any, cast

import pytest

from palaver.shared.messages import Message, Role
from palaver.shared.params import ChatParams, ReasoningOptions
from palaver.shared.profiles import Limits, Profile
from palaver.workers.metering import expected
from palaver.workers.providers import GenerationRequest
from palaver.workers.providers.anthropic import DEFAULT_MAX_TOKENS, AnthropicDialect, AnthropicProvider
from palaver.workers.token_counting import size_of

ANTHROPIC = Profile(name="p", kind="anthropic", limits=Limits(tokens_per_minute=1_000_000))


def asking(
    reasoning: ReasoningOptions | None, *, most: int | None, n: int | None = None
) -> GenerationRequest:
    return GenerationRequest(
        model="claude-sonnet-4-5",
        messages=[Message(role=Role.USER, content="Hi")],
        params=ChatParams(max_tokens=most, n=n),
        reasoning=reasoning,
    )


@pytest.mark.parametrize("most", [100, 5000])
@pytest.mark.parametrize(
    "reasoning",
    [
        None,
        ReasoningOptions(enabled=False, max_tokens=30_000),
        ReasoningOptions(max_tokens=30_000),
        ReasoningOptions(max_tokens=2000, within=True),
        *(ReasoningOptions(effort=effort) for effort in ("low", "medium", "xhigh")),
    ],
)
def test_what_may_be_thought_is_among_it(reasoning: ReasoningOptions | None, most: int) -> None:
    request = asking(reasoning, most=most)
    asked = AnthropicDialect(ANTHROPIC).request(request).body["max_tokens"]
    assert expected(request, None).output_tokens == asked
    assert size_of(ANTHROPIC, request).most == asked


@pytest.mark.parametrize(("options", "most"), [({}, DEFAULT_MAX_TOKENS), ({"max_tokens": 64_000}, 64_000)])
def test_an_answer_whose_request_names_no_bound_has_that_of_its_provider(
    options: dict[str, Any], most: int
) -> None:
    profile = ANTHROPIC.model_copy(update={"options": options})
    request = asking(ReasoningOptions(max_tokens=2000), most=None)
    provider = AnthropicProvider(profile, cast("Any", None))
    assert provider.dialect.request(request).body["max_tokens"] == most + 2000
    assert expected(request, None, provider.default_max_tokens).output_tokens == most + 2000


def test_each_choice_may_think() -> None:
    request = asking(ReasoningOptions(max_tokens=2000), most=100, n=3)
    assert expected(request, None).output_tokens == size_of(ANTHROPIC, request).most == 6300


def test_what_is_asked_for_beyond_all_measure_can_be_counted() -> None:
    most = 2**63 - 1
    request = asking(ReasoningOptions(max_tokens=most), most=most, n=128)
    assert expected(request, None).output_tokens == size_of(ANTHROPIC, request).most == 2 * 128 * 10**9


def test_no_answer_has_more_than_the_context() -> None:
    profile = ANTHROPIC.model_copy(update={"context": 1000})
    assert size_of(profile, asking(ReasoningOptions(max_tokens=2000), most=100)).most == 1000
