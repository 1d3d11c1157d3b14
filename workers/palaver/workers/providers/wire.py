"""Pieces of requests and answers that the dialects share."""

from typing import Any

import orjson

from palaver.shared.errors import ConfigurationError, MalformedStreamError
from palaver.shared.messages import ToolCall
from palaver.shared.plain import shape
from palaver.shared.profiles import Profile
from palaver.shared.responses import Usage
from palaver.workers.providers.parts import UsagePart, WarningPart


def headers(profile: Profile) -> dict[str, str]:
    """The profile's headers (a copy), and `Authorization: Bearer` where it has a key and no such header.

    Raises ConfigurationError for a header that HTTP cannot carry, naming the header and never its value.
    """
    fields = dict(profile.headers)
    if not any(name.lower() == "authorization" for name in fields) and (key := profile.key()):
        fields["authorization"] = f"Bearer {key}"
    for name, value in fields.items():
        if not value.isascii() or not value.isprintable() or not (name.isascii() and name.isprintable()):
            raise ConfigurationError(
                f"provider {profile.name}: the header {name!r} (or the key in it) has characters that HTTP "
                "cannot carry; look for a line end or a typographic character",
                provider=profile.name,
            )
    return fields


def option(profile: Profile, name: str, default: int) -> int:
    """A positive whole number of the profile's options. Raises ConfigurationError for anything else."""
    value = profile.options.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(
            f"provider {profile.name}: options.{name} must be a positive whole number, not {shape(value)}",
            provider=profile.name,
        )
    return value


def arguments_text(call: ToolCall) -> str:
    """A call's arguments as the JSON text that chat/completions wants."""
    return call.arguments if isinstance(call.arguments, str) else orjson.dumps(call.arguments).decode()


def names(body: bytes, list_key: str, name_key: str) -> list[str]:
    """The names in a list of models; what is no such list is malformed."""
    try:
        return [str(entry[name_key]) for entry in orjson.loads(body)[list_key]]
    except (ValueError, TypeError, KeyError):
        raise MalformedStreamError("The provider's list of models is not of its format.") from None


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
    try:
        usage = Usage.model_validate({name: value for name, value in counts.items() if value is not None})
    except ValueError:
        return None
    known = (usage.input_tokens, usage.output_tokens, usage.total_tokens)
    return None if known == (None, None, None) else UsagePart(usage)
