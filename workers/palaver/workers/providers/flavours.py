"""What servers of the OpenAI dialect do differently, in one table.

A server is known by its host, or named by the profile's option `flavour`.
Sources: the chat-completions pages of each provider's API documentation.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from palaver.shared.params import DEFAULT_EFFORT, ReasoningOptions
from palaver.workers.providers.parts import WarningPart
from palaver.workers.providers.wire import AUTHORIZATION, unsupported

HOSTS: Final[dict[str, str]] = {
    "deepseek.com": "deepseek",
    "openai.com": "openai",
    "anthropic.com": "anthropic",
    "claude.ai": "anthropic",
    "moonshot.cn": "moonshot",
    "moonshot.ai": "moonshot",
    "bigmodel.cn": "zhipuai",
    "zhipuai.cn": "zhipuai",
    "zhipu.ai": "zhipuai",
    "minimax.chat": "minimax",
    "dashscope.aliyuncs.com": "alibaba",
    "openrouter.ai": "openrouter",
    "mistral.ai": "mistral",
    "groq.com": "groq",
    "azure.com": "azure",
    "aimlapi.com": "aiml",
}
"""Domain to provider; subdomains belong to their domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where a server answers, below the base URL. `{model}` and `{api_version}` are filled in, quoted."""

    chat: str = "/chat/completions"
    models: str = "/models"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """One server's ways. The defaults are those of an unknown OpenAI-compatible server."""

    base_url: str | None = None  # where it is, if the profile does not say
    paths: Paths = field(default_factory=Paths)
    versioned: Paths | None = None  # its paths for a profile with the option `api_version`
    key_header: str = AUTHORIZATION
    parameters: Mapping[str, str | None] = field(default_factory=dict)  # other names than ours; None: missing
    formats: frozenset[str] = frozenset(
        ("json_object", "json_schema")
    )  # types of response_format beside text
    stream_usage: bool = True  # takes stream_options; those that refuse it tell the usage of a stream unasked
    cache_marks: bool = False  # takes `cache_control` in messages; those that do not refuse the request
    developer_role: bool = False  # knows the role developer; otherwise it travels as system
    message_name: bool = True  # takes `name` in a message
    call_id: re.Pattern[str] | None = None  # what the id of a call must look like
    reasoning: str | None = "effort"  # a name in REASONING; None: its models cannot be asked
    # Under this key an assistant message with tool calls gives the thinking before them back.
    reasoning_back: str | None = None
    lists_models: bool = True  # its list of models has all that can be asked for
    prefix: bool = False  # goes on after an assistant message at the end …
    prefix_at: str = ""  # … at a base URL that has this in it
    prefix_message: Mapping[str, Any] = field(default_factory=dict)  # keys that mark that message as a prefix
    prefix_body: Mapping[str, Any] = field(default_factory=dict)  # keys of the request that do


_OPENAI_PARAMETERS: Final[dict[str, str | None]] = {"max_tokens": "max_completion_tokens", "top_k": None}
_JSON_OBJECT: Final = frozenset(("json_object",))
_JSON_SCHEMA: Final = frozenset(("json_schema",))


def _missing(*names: str) -> dict[str, str | None]:
    return dict.fromkeys(names)


FLAVOURS: Final[dict[str, Flavour]] = {
    "aiml": Flavour(base_url="https://api.aimlapi.com/v1"),
    "alibaba": Flavour(reasoning="thinking_budget", prefix=True, prefix_message={"partial": True}),
    "anthropic": Flavour(
        parameters=_missing(
            "frequency_penalty", "logit_bias", "n", "presence_penalty", "seed", "top_k", "user"
        ),
        formats=frozenset(),
        reasoning="thinking_budget_tokens",
    ),
    "azure": Flavour(
        versioned=Paths(
            chat="/openai/deployments/{model}/chat/completions?api-version={api_version}",
            models="/openai/models?api-version={api_version}",
        ),
        key_header="api-key",
        lists_models=False,  # what is asked for is a deployment, and the list is of what could be deployed
        parameters=_OPENAI_PARAMETERS,
        developer_role=True,
    ),
    "deepseek": Flavour(
        base_url="https://api.deepseek.com",
        parameters=_missing("logit_bias", "n", "seed", "top_k", "user"),
        formats=_JSON_OBJECT,
        reasoning="thinking",
        reasoning_back="reasoning_content",
        prefix=True,
        prefix_at="/beta",
        prefix_message={"prefix": True},
    ),
    "generic": Flavour(),
    "groq": Flavour(
        base_url="https://api.groq.com/openai/v1",
        parameters={"max_tokens": "max_completion_tokens", **_missing("logit_bias", "n", "top_k")},
        message_name=False,
        prefix=True,
    ),
    "llamacpp": Flavour(
        base_url="http://127.0.0.1:8080/v1",
        parameters=_missing("user"),
        prefix=True,
    ),
    "llama-cpp-python": Flavour(
        base_url="http://127.0.0.1:8000/v1", parameters=_missing("n"), formats=_JSON_OBJECT
    ),
    "lmstudio": Flavour(
        base_url="http://127.0.0.1:1234/v1",
        parameters=_missing("n", "user"),
        formats=_JSON_SCHEMA,
    ),
    "minimax": Flavour(reasoning="thinking"),
    "mistral": Flavour(
        base_url="https://api.mistral.ai/v1",
        parameters={"seed": "random_seed", **_missing("logit_bias", "top_k", "user")},
        stream_usage=False,
        call_id=re.compile(r"[A-Za-z0-9]{9}"),
        prefix=True,
        prefix_message={"prefix": True},
    ),
    "moonshot": Flavour(
        reasoning=None,
        reasoning_back="reasoning_content",
        prefix=True,
        prefix_message={"partial": True},
    ),
    "openai": Flavour(
        base_url="https://api.openai.com/v1", parameters=_OPENAI_PARAMETERS, developer_role=True
    ),
    "openrouter": Flavour(
        base_url="https://openrouter.ai/api/v1",
        cache_marks=True,
        reasoning="openrouter",
        reasoning_back="reasoning",
        prefix=True,
    ),
    "vllm": Flavour(
        base_url="http://127.0.0.1:8000/v1",
        prefix=True,
        prefix_body={"add_generation_prompt": False, "continue_final_message": True},
    ),
    "zhipuai": Flavour(reasoning="thinking", reasoning_back="reasoning_content"),
}

BUDGETS: Final = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 32768, "xhigh": 65536}
"""Tokens of thinking that an effort means where a server wants a number."""


def _effort(options: ReasoningOptions) -> str:
    return options.effort or DEFAULT_EFFORT


def budget_of(options: ReasoningOptions) -> int:
    """How many tokens may be thought."""
    return options.max_tokens or BUDGETS[_effort(options)]


def _openrouter(options: ReasoningOptions) -> dict[str, Any]:
    bound = {"max_tokens": options.max_tokens} if options.max_tokens else {"effort": _effort(options)}
    return {"reasoning": bound}


@dataclass(frozen=True, slots=True)
class Reasoning:
    """One way to ask a server to think: the fields of the request, and which of the options are in them."""

    fields: Callable[[ReasoningOptions], dict[str, Any]]
    carries: frozenset[str]


_BOTH: Final = frozenset(("effort", "max_tokens"))

REASONING: Final[dict[str, Reasoning]] = {
    "effort": Reasoning(lambda options: {"reasoning_effort": _effort(options)}, frozenset(("effort",))),
    "openrouter": Reasoning(_openrouter, _BOTH),
    "thinking": Reasoning(lambda options: {"thinking": {"type": "enabled"}}, frozenset()),
    "thinking_budget": Reasoning(
        lambda options: {"enable_thinking": True, "thinking_budget": budget_of(options)}, _BOTH
    ),
    "thinking_budget_tokens": Reasoning(
        lambda options: {"thinking": {"type": "enabled", "budget_tokens": budget_of(options)}}, _BOTH
    ),
}
"""How a server is asked to think, by the name that a flavour has for it."""


def detect_provider(url: str | None) -> str | None:
    """The provider whose host a URL names, case-insensitively; None for an unknown one. Paths and queries
    never count.
    """
    try:
        host = (urlsplit(url or "").hostname or "").lower()
    except ValueError:
        return None
    for domain, name in HOSTS.items():
        if host == domain or host.endswith(f".{domain}"):
            return name
    return None


def flavour_of(base_url: str | None, named: str | None = None) -> Flavour:
    """The flavour of that name, else its host's (OpenAI's without an address), else the generic
    one.
    """
    if named is None:
        found = detect_provider(base_url) if base_url else "openai"
        return FLAVOURS[found or "generic"]
    return FLAVOURS[named]


def reasoning_fields(
    style: str | None, options: ReasoningOptions | None, warnings: list[WarningPart]
) -> dict[str, Any]:
    """The request fields that ask for reasoning: none unless it is enabled. A warning for what the server has
    no field for.
    """
    if options is None or not options.enabled:
        return {}
    if style is None:
        told = "This provider is not asked to think: its models do, or do not."
        warnings.append(unsupported("reasoning", told))
        return {}
    way = REASONING[style]
    warnings += uncarried(options, way.carries)
    return way.fields(options)


def uncarried(options: ReasoningOptions, carries: frozenset[str]) -> list[WarningPart]:
    """A warning for each option that is set and not among those that a request carries."""
    asked = [name for name in ("effort", "max_tokens") if getattr(options, name) is not None]
    return [unsupported(f"reasoning.{name}") for name in asked if name not in carries]
