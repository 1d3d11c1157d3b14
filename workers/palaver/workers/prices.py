"""What requests cost: by the prices of their profile, else by those that the package genai-prices has.

The package comes with the extra `prices`. It holds its prices itself and asks nobody. The address alone tells
which provider it is: a model of that name on a server of one's own costs something else.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Final
from urllib.parse import urlsplit

from palaver.shared.profiles import ANY_MODEL, ModelPrice
from palaver.shared.responses import Usage
from palaver.workers.event_log import event_logger
from palaver.workers.metering import Price
from palaver.workers.providers import Provider

__all__ = ["Prices", "cost_at"]

logger = event_logger("palaver.workers.prices")

MILLION: Final = 1_000_000

# Where providers tell how much of the prompt came from their own cache, or went into it.
_READ: Final = (("prompt_tokens_details", "cached_tokens"), ("input_tokens_details", "cached_tokens"))
_FLAT_READ: Final = ("cache_read_input_tokens", "prompt_cache_hit_tokens")
_FLAT_WRITE: Final = "cache_creation_input_tokens"

Known = Callable[[Usage, str, str], float | None]
"""The price by genai-prices: usage, model, address."""


class Prices:
    """One per process. Unknown costs are None, and never 0."""

    def __init__(self) -> None:
        self._known: Known | None = None
        self._looked_for = False
        self._looking = asyncio.Lock()

    async def of(self, provider: Provider, model: str) -> Price:
        """The price of requests to this model. The first that needs the package waits half a second."""
        profile = provider.profile
        own = profile.prices.get(model) or profile.prices.get(ANY_MODEL)
        if own is not None:
            return partial(_own, own)
        address = provider.address
        if address is None or not _is_public(address):
            return _unknown
        await self._load()
        return partial(self._of_package, model, address)

    async def _load(self) -> None:
        async with self._looking:
            if not self._looked_for:
                self._known = await asyncio.to_thread(_package)
                self._looked_for = True

    def _of_package(self, model: str, address: str, usage: Usage, answered: str | None) -> float | None:
        if self._known is None:
            return None
        cost = self._known(usage, model, address)
        return self._known(usage, answered, address) if cost is None and answered else cost


def cost_at(price: ModelPrice, usage: Usage) -> float:
    """What this usage costs at this price, in US dollars. What is not counted is free."""
    read, _ = _cached(usage)
    fresh = max(0, (usage.input_tokens or 0) - read)
    cached = price.input if price.cached_input is None else price.cached_input
    total = fresh * price.input + read * cached + (usage.output_tokens or 0) * price.output
    return round(total / MILLION, 12)


def _own(price: ModelPrice, usage: Usage, answered: str | None) -> float | None:
    return cost_at(price, usage)


def _unknown(usage: Usage, answered: str | None) -> float | None:
    return None


def _cached(usage: Usage) -> tuple[int, int]:
    """Tokens of the prompt that the provider read from its cache, and wrote to it: no more than there are."""
    details, prompt = usage.details, usage.input_tokens or 0
    inner = [_number(_table(details.get(table)).get(name)) for table, name in _READ]
    flat = [_number(details.get(name)) for name in _FLAT_READ]
    read = min(max(*inner, *flat), prompt)
    return read, min(_number(details.get(_FLAT_WRITE)), prompt - read)


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


@cache
def _is_public(address: str) -> bool:
    """Whether somebody may be known there: not on this machine or in a network of one's own."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host


def _package() -> Known | None:
    """genai-prices, if it is installed: a third of a second, which the loop must not wait for."""
    try:
        import genai_prices
    except ImportError:
        logger.info("prices.not_installed", reason="costs are known for profiles with prices only")
        return None

    def known(usage: Usage, model: str, address: str) -> float | None:
        read, written = _cached(usage)
        spent = genai_prices.Usage(
            input_tokens=usage.input_tokens or 0,
            output_tokens=usage.output_tokens or 0,
            cache_read_tokens=read,
            cache_write_tokens=written,
        )
        try:
            price = genai_prices.calc_price(spent, model, provider_api_url=address)
            return round(float(price.total_price), 12)
        except (LookupError, ValueError):
            return None

    known(Usage(), "gpt-4o", "https://api.openai.com/v1")  # reads the prices
    return known
