"""What servers of the OpenAI dialect do differently, in one table.

A server is known by its host, or named by the profile's option `flavour`.
Sources: the chat-completions pages of each provider's API documentation.
"""

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from palaver.shared.errors import ConfigurationError
from palaver.shared.params import DEFAULT_EFFORT, ReasoningOptions

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
}
"""Domain to provider; subdomains belong to their domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """One server's ways. The defaults are those of an unknown OpenAI-compatible server."""

    developer_role: bool = False  # knows the role developer; otherwise it travels as system
    top_k: bool = True  # takes the parameter; OpenAI refuses unknown ones
    reasoning: str = "effort"  # a name in REASONING
    prefix: bool = False  # goes on after an assistant message at the end
    prefix_message: dict[str, Any] = field(default_factory=dict)  # keys that mark that message as a prefix
    prefix_body: dict[str, Any] = field(default_factory=dict)  # keys of the request that do


FLAVOURS: Final[dict[str, Flavour]] = {
    "generic": Flavour(),
    "openai": Flavour(developer_role=True, top_k=False),
    "azure": Flavour(developer_role=True, top_k=False),
    "anthropic": Flavour(reasoning="thinking_budget_tokens"),
    "deepseek": Flavour(reasoning="thinking", prefix=True, prefix_message={"prefix": True}),
    "mistral": Flavour(prefix=True, prefix_message={"prefix": True}),
    "moonshot": Flavour(reasoning="nothing", prefix=True, prefix_message={"partial": True}),
    "zhipuai": Flavour(reasoning="thinking"),
    "minimax": Flavour(reasoning="thinking"),
    "alibaba": Flavour(reasoning="thinking_budget", prefix=True, prefix_message={"partial": True}),
    "openrouter": Flavour(reasoning="openrouter", prefix=True),
    "groq": Flavour(top_k=False, prefix=True),
    "llamacpp": Flavour(prefix=True),
    "vllm": Flavour(
        prefix=True, prefix_body={"add_generation_prompt": False, "continue_final_message": True}
    ),
}

_BUDGETS: Final = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 32768, "xhigh": 65536}


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


def flavour_of(base_url: str | None, named: object = None) -> Flavour:
    """The flavour that a profile names, else its host's, else the generic one."""
    if named is None:
        named = detect_provider(base_url)
        return FLAVOURS.get(str(named), FLAVOURS["generic"])
    if named not in FLAVOURS:
        raise ConfigurationError(
            f"The flavour {named!r} is not known; choose one of {', '.join(sorted(FLAVOURS))}."
        )
    return FLAVOURS[str(named)]


def reasoning_fields(style: str, options: ReasoningOptions | None) -> dict[str, Any]:
    """The request fields that ask for reasoning: none unless it is enabled."""
    if options is None or not options.enabled or style == "nothing":
        return {}
    effort = options.effort or DEFAULT_EFFORT
    budget = options.max_tokens or _BUDGETS[effort]
    if style == "thinking":
        return {"thinking": {"type": "enabled"}}
    if style == "thinking_budget_tokens":
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    if style == "thinking_budget":
        return {"enable_thinking": True, "thinking_budget": budget}
    if style == "openrouter":
        bound = {"max_tokens": options.max_tokens} if options.max_tokens else {"effort": effort}
        return {"reasoning": bound}
    return {"reasoning_effort": effort}
