"""Which fields of a request a client may have sent to a provider as they are; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from palaver.shared.plain import refuse

DOING: Final = frozenset(
    {
        "audio",
        "background",
        "connectors",
        "container",
        "context_management",
        "documents",
        "enable_search",
        "mcp_servers",
        "modalities",
        "plugins",
        "search",
        "search_options",
        "search_parameters",
        "store",
        "tool_resources",
        "web_search",
        "web_search_options",
    }
)
"""The provider calls servers, searches, runs code, keeps what was said, or makes something else than text."""
COSTING: Final = frozenset(
    {
        "best_of",
        "chat_template_kwargs",
        "enable_thinking",
        "inference_geo",
        "max_length",
        "max_new_tokens",
        "min_new_tokens",
        "min_tokens",
        "n_predict",
        "num_predict",
        "options",
        "prediction",
        "provider",
        "reasoning",
        "route",
        "service_tier",
        "speed",
        "thinking",
        "thinking_budget",
    }
)
"""It costs what no table of prices, no limit of tokens and no budget counts, or is answered by others."""
_AS_ALWAYS: Final[dict[str, tuple[Any, ...]]] = {
    "background": (False,),
    "service_tier": ("auto", "default", "standard_only"),
    "store": (False,),
}
"""What clients say by habit, and what changes nothing."""


def check_extra(extra: Any, param: str = "params.extra.") -> None:
    """Raises ValidationError for a field that buys or does what a key does not allow; what an operator wants
    of it, the profile says. `param` is what stands before the field's name.
    """
    for name, value in extra.items() if isinstance(extra, Mapping) else ():
        if name in DOING | COSTING and value is not None and value not in _AS_ALWAYS.get(name, ()):
            refuse(f"{param}{name}", "is not taken from clients: the provider would do or cost more")


def check_params(params: Any) -> None:
    """`check_extra` of a job's `params`; what is no object is refused where the job is made."""
    if isinstance(params, Mapping):
        check_extra(params.get("extra"))
