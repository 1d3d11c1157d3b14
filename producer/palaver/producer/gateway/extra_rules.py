"""Which fields of a request a client may have sent to a provider as they are; pure.

Nobody knows all fields of all providers. So a key that is for some models, tools or agents alone has those
that are known to change nothing but how words are chosen and told, and those that its operator has named;
others have all but those that are known to do or cost more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from palaver.shared.api_keys import ApiKey
from palaver.shared.plain import below, refuse

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
HARMLESS: Final = frozenset(
    {
        "allowed_token_ids",
        "bad_words",
        "cache_prompt",
        "dry_allowed_length",
        "dry_base",
        "dry_multiplier",
        "dry_penalty_last_n",
        "dry_sequence_breakers",
        "dynatemp_exponent",
        "dynatemp_range",
        "eta_cutoff",
        "epsilon_cutoff",
        "frequency_penalty",
        "include_reasoning",
        "include_stop_str_in_output",
        "length_penalty",
        "logit_bias",
        "min_p",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "presence_penalty",
        "prompt_cache_key",
        "random_seed",
        "repeat_last_n",
        "repeat_penalty",
        "repetition_penalty",
        "safe_prompt",
        "safety_identifier",
        "seed",
        "separate_reasoning",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "stop_sequences",
        "stop_token_ids",
        "temperature",
        "tfs_z",
        "top_a",
        "top_k",
        "top_n_sigma",
        "top_p",
        "typical_p",
        "user",
        "verbosity",
        "xtc_probability",
        "xtc_threshold",
    }
)
"""How the next word is chosen, how the answer is told, whom it is for."""
_AS_ALWAYS: Final[dict[str, tuple[Any, ...]]] = {
    "background": (False,),
    "service_tier": ("auto", "default", "standard_only"),
    "store": (False,),
}
"""What clients say by habit, and what changes nothing."""

_EXTRA: Final = "params.extra"


def check_extra(extra: Any, key: ApiKey | None) -> None:
    """Raises ValidationError for a field that buys or does what the key does not allow; what an operator
    wants of it, the profile says, or the key.
    """
    named = () if key is None else key.extra or ()
    for name, value in extra.items() if isinstance(extra, Mapping) else ():
        if value is None or name in named or value in _AS_ALWAYS.get(name, ()):
            continue
        if name in DOING | COSTING:
            refuse(below(_EXTRA, name), "is not taken from clients: the provider would do or cost more")
        if key is not None and key.is_restricted and name not in HARMLESS:
            refuse(below(_EXTRA, name), "is not a field that this API key may have sent to a provider")


def check_params(params: Any, key: ApiKey | None) -> None:
    """`check_extra` of a job's `params`; what is no object is refused where the job is made."""
    if isinstance(params, Mapping):
        check_extra(params.get("extra"), key)
