"""Providers, each made at its first request and lent for one request at a time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from palaver.shared.profiles import Profile
from palaver.workers.http import HttpClient
from palaver.workers.providers import Provider, close, create

__all__ = ["Lending", "Loan", "Make"]

Make = Callable[[Profile, HttpClient], Provider]
"""Makes the provider of a profile. Raises ConfigurationError."""


@dataclass(slots=True)
class _Made:
    """A provider, and how many requests it is busy with."""

    provider: Provider
    requests: int = 0
    retired: bool = False  # its profile has changed or is gone: closed after its last request


class Loan:
    """A provider for the block of one request: also one that is retired meanwhile."""

    __slots__ = ("_made", "_release")

    def __init__(self, made: _Made, release: Callable[[_Made], Awaitable[None]]) -> None:
        self._made = made
        self._release = release

    async def __aenter__(self) -> Provider:
        self._made.requests += 1
        return self._made.provider

    async def __aexit__(self, *error: object) -> None:
        self._made.requests -= 1
        await self._release(self._made)


class Lending:
    """The providers of a worker by the names of their profiles, on one client's connections."""

    def __init__(self, http: HttpClient, make: Make = create) -> None:
        self._http = http
        self._new = make
        self._made: dict[str, _Made] = {}
        self._retired: list[_Made] = []

    def lend(self, profile: Profile) -> Loan:
        """The provider of this profile. Raises ConfigurationError."""
        return Loan(self._make(profile), self._close_unused)

    async def retire(self, name: str) -> None:
        """Make another provider for the next request to the profile of this name."""
        made = self._made.pop(name, None)
        if made is not None:
            made.retired = True
            self._retired.append(made)
            await self._close_unused(made)

    async def aclose(self) -> None:
        """Close every provider, then the connections that they share."""
        for made in [*self._made.values(), *self._retired]:
            await close(made.provider)
        self._made, self._retired = {}, []
        await self._http.aclose()

    def _make(self, profile: Profile) -> _Made:
        if profile.name not in self._made:
            self._made[profile.name] = _Made(self._new(profile, self._http))
        return self._made[profile.name]

    async def _close_unused(self, made: _Made) -> None:
        if made.retired and not made.requests and made in self._retired:
            self._retired.remove(made)
            await close(made.provider)
