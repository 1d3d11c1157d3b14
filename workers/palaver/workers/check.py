"""`python -m palaver.workers.check [NAME …]`: does each provider of the configuration answer, and each server
of tools?

Asks every provider the cheapest question that it has, which spends no token, and compares its models with
those that `palaver.toml` names; asks every server of tools for these. NAME is a profile's, or `mcp.` and a
server's. Prints a JSON object for each, one a line, for `palaver check`.
Exit codes: 0 all is well, 1 something is not, 2 wrong configuration or usage.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

import orjson

from palaver.shared.errors import PalaverError
from palaver.shared.profiles import Catalog, Profile
from palaver.shared.responses import Usage
from palaver.shared.settings import Settings, redacted_url
from palaver.shared.tenants import Tenants
from palaver.shared.tool_servers import ToolServer, load_tool_servers
from palaver.workers.http import HttpClient
from palaver.workers.prices import Prices
from palaver.workers.providers import Provider, close, create
from palaver.workers.tool_servers import require_mcp

__all__ = ["Checked", "check"]

ANSWER_SECONDS: Final = 8.0
MCP: Final = "mcp."
"""Before the name of a server of tools, as in its table's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found out about a profile, or, of the kind `mcp`, a server of tools. `models`: how many the
    provider lists; None if it does not tell. `tools` are those of a server. `unpriced`: models whose price is
    not known, although somebody's spending is limited.
    """

    name: str
    kind: str
    url: str | None
    problem: str | None = None
    latency_ms: float | None = None
    models: int | None = None
    tools: list[str] | None = None
    unpriced: list[str] | None = None


async def check(
    catalog: Catalog,
    servers: Sequence[ToolServer] = (),
    names: Sequence[str] = (),
    *,
    prices: Prices | None = None,
) -> list[Checked]:
    """Ask these providers and servers (default: all), at once; with `prices` also those for their models.

    Raises ValidationError for an unknown name.
    """
    asked = {MCP + server.name: server for server in servers}
    profiles = [catalog.profile(name) for name in names if name not in asked]
    if names:
        servers = [asked[name] for name in names if name in asked]
    else:
        profiles = list(catalog.profiles.values())
    http = HttpClient()
    try:
        return await asyncio.gather(
            *(_check(profile, _wanted(catalog, profile), http, prices) for profile in profiles),
            *map(_check_server, servers),
        )
    finally:
        await http.aclose()


async def _check(profile: Profile, wanted: Sequence[str], http: HttpClient, prices: Prices | None) -> Checked:
    url = redacted_url(profile.base_url) if profile.base_url else None
    known = partial(Checked, name=profile.name, kind=profile.kind, url=url)
    if missing := profile.missing_key():
        return known(problem=missing)
    try:
        provider = create(profile, http)
    except PalaverError as error:
        return known(problem=error.message)
    if prices is not None:
        known = partial(known, unpriced=await _unpriced(prices, provider, wanted))
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            health = await provider.health()
            listed = await provider.models() if health.ok else None
    except TimeoutError:
        return known(problem=f"no answer within {ANSWER_SECONDS:g} seconds")
    except PalaverError as error:
        return known(problem=error.message)
    except Exception as error:  # noqa: BLE001 - a class of somebody's own must not hide the other providers
        return known(problem=f"{profile.kind} raised {type(error).__name__}")
    finally:
        await close(provider)
    if health.error is not None:
        return known(problem=health.error.message)
    unlisted = [model for model in wanted if listed is not None and model not in listed]
    problem = f"it does not list {', '.join(unlisted)}" if unlisted else None
    count = None if listed is None else len(listed)
    return known(problem=problem, latency_ms=round(health.latency_ms, 1), models=count)


async def _unpriced(prices: Prices, provider: Provider, models: Sequence[str]) -> list[str]:
    one = Usage(input_tokens=1, output_tokens=1)
    return [model for model in models if (await prices.of(provider, model))(one, None) is None]


async def _check_server(server: ToolServer) -> Checked:
    url = redacted_url(server.url) if server.url is not None else None
    known = partial(Checked, name=MCP + server.name, kind="mcp", url=url)
    if (variable := server.missing()) is not None:
        return known(problem=f"the variable {variable} is not set")
    try:
        mcp = require_mcp(server)
        begun = time.monotonic()
        tools = await mcp.tool_names(server)
    except PalaverError as error:
        return known(problem=error.message)
    latency = round((time.monotonic() - begun) * 1000, 1)
    missing = [tool for tool in server.tools or () if tool not in tools]
    problem = f"it does not have {', '.join(missing)}" if missing else None
    return known(problem=problem, latency_ms=latency, tools=tools)


def _wanted(catalog: Catalog, profile: Profile) -> list[str]:
    """The models of this profile that the configuration names."""
    refs = [ref for alias in catalog.aliases for ref in catalog.resolve(alias) if ref.profile == profile.name]
    return list(dict.fromkeys([*(profile.models or ()), *(ref.model for ref in refs)]))


def main(names: Sequence[str]) -> int:
    """See the module."""
    try:
        settings = Settings.load()
        servers = load_tool_servers(settings)
        prices = Prices() if Tenants.load(settings).limit_spending else None
        results = asyncio.run(check(Catalog.load(settings), servers, names, prices=prices))
    except PalaverError as error:
        print(f"palaver check: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 2
    for result in results:
        print(orjson.dumps(asdict(result)).decode())  # noqa: T201 - the same
    return 1 if any(result.problem for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
