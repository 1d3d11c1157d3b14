"""Pieces of requests and answers that the dialects share."""

import difflib
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from palaver.shared.errors import ConfigurationError, MalformedStreamError
from palaver.shared.messages import ToolCall
from palaver.shared.params import ChatParams
from palaver.shared.plain import shape
from palaver.shared.profiles import Profile
from palaver.shared.responses import Usage
from palaver.workers.providers.base import GenerationRequest
from palaver.workers.providers.parts import UsagePart, WarningPart

AUTHORIZATION: Final = "authorization"

MOST_TOKENS: Final = 10**9
"""Of one request: a larger count is nonsense, and would be the end of a tenant's sums and limits."""

MAPPED: Final = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "user",
    "n",
    "seed",
)
"""The parameters that are a name and a value in a request. A dialect's table has a name for each, or None."""

_OPTIONS: Final = ("max_event_bytes", "think_tags")
"""Of the profiles of all dialects."""

_CONTEXT_LENGTHS: Final = (
    "context_length",
    "context_window",
    "max_model_len",
    "max_context_length",
    "max_input_tokens",
    "n_ctx_train",
)


def headers(profile: Profile, key_header: str = AUTHORIZATION) -> dict[str, str]:
    """The profile's headers (a copy), and its key in `key_header` (`Authorization` has it as Bearer) unless
    they have that header or an `Authorization`.

    Raises ConfigurationError for a header that HTTP cannot carry, naming the header and never its value.
    """
    fields = dict(profile.headers)
    if not {AUTHORIZATION, key_header} & {name.lower() for name in fields} and (key := profile.key()):
        fields[key_header] = f"Bearer {key}" if key_header == AUTHORIZATION else key
    for name, value in fields.items():
        if not value.isascii() or not value.isprintable() or not (name.isascii() and name.isprintable()):
            raise ConfigurationError(
                f"provider {profile.name}: the header {name!r} (or the key in it) has characters that HTTP "
                "cannot carry; look for a line end or a typographic character",
                provider=profile.name,
            )
    return fields


def check_options(profile: Profile, *known: str) -> None:
    """Raises ConfigurationError for an option that no server has: a misspelt one would change nothing, in
    silence. `known` are those of a dialect.
    """
    if ":" in profile.kind:
        return  # a class of one's own, which may have others
    names = sorted({*known, *_OPTIONS})
    for name in profile.options:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            meant = f"is it {near[0]!r}?" if near else f"there are: {', '.join(names)}"
            raise ConfigurationError(
                f"provider {profile.name}: there is no option {name!r}; {meant}", provider=profile.name
            )


def flag(profile: Profile, name: str, default: bool) -> bool:
    """A yes or no of the profile's options. Raises ConfigurationError for anything else."""
    value = profile.options.get(name, default)
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"provider {profile.name}: options.{name} must be true or false, not {shape(value)}",
            provider=profile.name,
        )
    return value


def option(profile: Profile, name: str, default: int) -> int:
    """A positive whole number of the profile's options. Raises ConfigurationError for anything else."""
    value = profile.options.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(
            f"provider {profile.name}: options.{name} must be a positive whole number, not {shape(value)}",
            provider=profile.name,
        )
    return value


def name_option(profile: Profile, name: str) -> str | None:
    """A name among the profile's options, if it is there. Raises ConfigurationError for anything else."""
    value = profile.options.get(name)
    if value is not None and not (isinstance(value, str) and value):
        raise ConfigurationError(
            f"provider {profile.name}: options.{name} must be a name, not {shape(value)}",
            provider=profile.name,
        )
    return value


def parameters(
    params: ChatParams, names: Mapping[str, str | None]
) -> tuple[dict[str, Any], list[WarningPart]]:
    """The parameters that are set, under the names of a dialect's table, and a warning for each without
    one.
    """
    found: dict[str, Any] = {}
    warnings: list[WarningPart] = []
    for ours, theirs in names.items():
        value = getattr(params, ours)
        if value is None:
            continue
        if theirs is not None:
            found[theirs] = value
        elif (ours, value) != ("n", 1):  # one answer is what every server gives
            warnings.append(unsupported(ours))
    return found, warnings


def arguments_text(call: ToolCall) -> str:
    """A call's arguments as the JSON text that chat/completions wants."""
    return call.arguments if isinstance(call.arguments, str) else orjson.dumps(call.arguments).decode()


def call_id(given: str, allowed: re.Pattern[str] | None) -> str:
    """The id of a call as a provider takes it: another one may have given it, in characters that are refused
    here. Derived, so that a call and its result still agree.
    """
    if allowed is None or allowed.fullmatch(given):
        return given
    return hashlib.sha256(given.encode()).hexdigest()[:9]


def arguments_object(call: ToolCall) -> dict[str, Any]:
    """A call's arguments for servers that take objects only; what the model wrote instead of one is still
    told.
    """
    return call.arguments if isinstance(call.arguments, dict) else {"arguments": call.arguments}


def document(body: bytes) -> dict[str, Any]:
    """The JSON object that an answer is; anything else is malformed."""
    try:
        found = orjson.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise MalformedStreamError("The provider's answer is no JSON object.")
    return found


def streams(request: GenerationRequest, *, several: bool) -> bool:
    """Whether to ask for a stream. A job that wants several answers gets them in one body, or, where a server
    gives no more than one (`several` false), that one as a stream.
    """
    asked = request.params.n is not None and request.params.n > 1
    return request.stream or (asked and not several and not request.params.return_raw)


def listed(body: bytes, list_key: str, name_key: str) -> dict[str, dict[str, Any]]:
    """The entries of a list of models, by name; what is no such list is malformed."""
    try:
        return {str(entry[name_key]): dict(entry) for entry in orjson.loads(body)[list_key]}
    except (ValueError, TypeError, KeyError):
        raise MalformedStreamError("The provider's list of models is not of its format.") from None


def context_length(*places: Any) -> int | None:
    """The size of a model's context in tokens, under the first known name in these objects."""
    for place in filter(lambda place: isinstance(place, dict), places):
        for name in _CONTEXT_LENGTHS:
            if isinstance(size := place.get(name), int) and size > 0:
                return size
    return None


def unsupported(param: str, message: str | None = None) -> WarningPart:
    """The warning for a parameter that a dialect cannot carry."""
    return WarningPart(
        "unsupported_parameter", message or f"This provider has no {param}; it is left out.", param
    )


def usage_part(counts: Any) -> UsagePart | None:
    """Token counts of a provider; None where they make no sense, for an answer is worth more than its
    bill.
    """
    if not isinstance(counts, dict):
        return None
    told = {name: value for name, value in counts.items() if value is not None}
    own = {name: told.pop(name) for name in Usage.MARKS if name in told}
    try:
        usage = Usage.model_validate(told | ({"details": own} if own else {}))
    except ValueError:
        return None
    known = [
        count for count in (usage.input_tokens, usage.output_tokens, usage.total_tokens) if count is not None
    ]
    return UsagePart(usage) if known and max(known) <= MOST_TOKENS else None
