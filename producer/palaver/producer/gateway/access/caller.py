"""Who asks: the caller of a request, as a parameter of its route."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Path, Query, Request
from fastapi.security import APIKeyHeader, HTTPBearer

from palaver.producer.gateway.bounds import LEAVING
from palaver.producer.gateway.state import Gateway, Served
from palaver.shared.api_keys import ApiKey
from palaver.shared.beside import whose
from palaver.shared.errors import ForbiddenError, TooManyRequestsError, UnauthorizedError
from palaver.shared.ids import new_token
from palaver.shared.ledger import operations
from palaver.shared.names import DEFAULT_PRIORITY
from palaver.shared.owner import Owner
from palaver.shared.reader_tokens import PREFIX, ReaderToken, read_reader_token

DEFAULT_USER: Final = "api"
"""Whose things are that a key without a user makes, for no user in particular."""

_USER: Final = "X-Palaver-User"
_PROXIED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")

_bearer = HTTPBearer(auto_error=False, description="An API key, or a reader token.")
_header = APIKeyHeader(name="x-api-key", auto_error=False, description="As Anthropic's clients send it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose the request is. `reads`: the one session that the reader token is for, which he has instead of a
    key.
    """

    tenant: str | None = None
    user: str = DEFAULT_USER
    key: ApiKey | None = None
    reads: ReaderToken | None = None

    @property
    def whose(self) -> dict[str, Any]:
        """The owner, as arguments of clients and conversations."""
        return {"tenant": self.tenant, "user": self.user}

    @property
    def is_held_to_user(self) -> bool:
        """Whether he is one user, and no service that asks for any of its tenant's."""
        return self.key is not None and self.key.user is not None

    @property
    def expires(self) -> float | None:
        """When what he came with ends, as Unix time; None: never."""
        if self.reads is not None:
            return self.reads.expires
        return None if self.key is None else self.key.expires

    def own_key(self, idempotency_key: str | None) -> str | None:
        """An idempotency key that meets no other user's. That of a service which names no user is the same
        as in Python.
        """
        names_nobody = self.user == DEFAULT_USER and not self.is_held_to_user
        if idempotency_key is None or names_nobody:
            return idempotency_key
        return hashlib.sha256(f"{len(self.user)}:{self.user}{idempotency_key}".encode()).hexdigest()

    def check_models(self, models: list[str]) -> None:
        """Raises ForbiddenError for a model that the key is not for."""
        if self.key is not None and not self.key.allows(models):
            raise ForbiddenError("The API key does not allow this model.", param="model")

    def check_agent(self, path: str | None) -> None:
        """Raises ForbiddenError for an agent that the key is not for; None is none."""
        if path is not None and self.key is not None and not self.key.allows_agent(path):
            raise ForbiddenError("The API key does not allow this agent.", param="agent")

    def priority(self, named: int | None) -> int:
        """The priority that a job of this caller has; None: it names none, and has the usual one, or the
        highest that the key is for. Raises ForbiddenError for a higher one.
        """
        if self.key is None:
            return DEFAULT_PRIORITY if named is None else named
        most = self.key.priority_most
        if named is None:
            return min(DEFAULT_PRIORITY, most)
        if named > most:
            raise ForbiddenError(f"The API key allows a priority of {most} at most.", param="priority")
        return named


def _credential(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-api-key")


async def admit(request: Request) -> None:
    """Know who asks from the head of a request alone. Raises as `Asking` does."""
    request.state.caller = await _identify(request, request.app.state.gateway)


async def _identify(request: Request, gateway: Gateway) -> Caller:
    credential, user = _credential(request), request.headers.get(_USER)
    if await gateway.keys.is_open():
        _check_local(request, gateway)
        return Caller(user=_named(user))
    if credential is None:
        raise UnauthorizedError
    if credential.startswith(PREFIX):
        raise ForbiddenError("A reader token is for the events and messages of its session alone.")
    key = await gateway.keys.key(credential)
    if key.requests_per_minute is not None:
        await _throttle(gateway, key.id, key.requests_per_minute)
    _take_place(request, gateway, key.id, gateway.settings.gateway_key_requests)
    if key.user is not None and user is not None and user != key.user:
        raise ForbiddenError("The API key is one user's, and X-Palaver-User names another.")
    whose.set(f"tenant/{key.tenant}" if key.tenant else f"key/{key.id}")
    return Caller(tenant=key.tenant, user=key.user or _named(user), key=key)


async def _caller(
    request: Request,
    gateway: Served,
    _user: Annotated[
        str | None, Header(alias=_USER, description="For whom: a user of the key's tenant.")
    ] = None,
    _bearer: Annotated[object, Depends(_bearer)] = None,
    _key: Annotated[object, Depends(_header)] = None,
) -> Caller:
    known: Caller | None = getattr(request.state, "caller", None)
    return known or await _identify(request, gateway)


async def _reader(
    *,
    request: Request,
    gateway: Served,
    session_id: Annotated[str, Path()],
    _user: Annotated[str | None, Header(alias=_USER)] = None,
    token: Annotated[
        str | None, Query(description="A reader token, for browsers: an EventSource sends no headers.")
    ] = None,
    _bearer: Annotated[object, Depends(_bearer)] = None,
) -> Caller:
    credential = token or _credential(request)
    if credential is None or not credential.startswith(PREFIX):
        if token is not None:
            raise UnauthorizedError("Only reader tokens are taken in an address, no API keys.")
        return await _identify(request, gateway)
    read = read_reader_token(gateway.settings, credential, now=time.time())
    if read is None:
        raise UnauthorizedError("The reader token is not valid, or its time is over.")
    if read.session_id != session_id:
        raise ForbiddenError("The reader token is for another session.")
    await _admit_reader(request, gateway, read)
    return Caller(tenant=read.tenant, reads=read)


Asking = Annotated[Caller, Depends(_caller)]
"""The caller, who has a key; raises UnauthorizedError, ForbiddenError, TooManyRequestsError."""
Reading = Annotated[Caller, Depends(_reader)]
"""The caller, who may have no more than a reader token for the route's session."""


async def _admit_reader(request: Request, gateway: Gateway, read: ReaderToken) -> None:
    """Tokens cost nothing to make: they count together, with the key that asked for them, too."""
    settings, name = gateway.settings, f"token-{read.id}"
    makers = read.key_id or f"session-{read.session_id}"
    _take_place(request, gateway, makers, settings.gateway_key_requests)
    _take_place(request, gateway, name, settings.gateway_token_requests)
    await _throttle(gateway, name, settings.gateway_token_per_minute)


async def _throttle(gateway: Gateway, name: str, per_minute: int) -> None:
    ledger = gateway.client.ledger
    taking = operations.throttle(ledger.keys, name, per_minute=per_minute, token=new_token())
    if (wait := await ledger.run(taking)) > 0:
        raise TooManyRequestsError(retry_after=math.ceil(wait * 1000) / 1000)


def _take_place(request: Request, gateway: Gateway, name: str, most: int) -> None:
    """For as long as the request is answered."""
    leaving: ExitStack = request.scope[LEAVING]
    leaving.enter_context(gateway.crowd.place(name, most))


def _named(user: str | None) -> str:
    return Owner.validated({"user": user}).user or DEFAULT_USER


def _check_local(request: Request, gateway: Gateway) -> None:
    """Without a key only programs of this machine are served, and no page that a name of theirs led here, or
    that has a browser of this machine ask.
    """
    proxied = any(name in request.headers for name in _PROXIED)
    if proxied or not is_loopback(request.url.hostname or ""):
        raise UnauthorizedError(
            "Without API keys the gateway serves this machine alone: palaver keys create makes one."
        )
    origin = request.headers.get("origin")
    if origin in gateway.origins or origin == f"{request.url.scheme}://{request.headers.get('host')}":
        return
    if origin is not None or request.headers.get("sec-fetch-site") == "cross-site":
        raise ForbiddenError(
            "Without API keys no page elsewhere may call: PALAVER_GATEWAY_ORIGINS names those that may."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what is there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
