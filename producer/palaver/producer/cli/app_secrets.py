"""The commands about keys and secrets, and their options; see `app`."""

from typing import Annotated

import typer

from palaver.producer.cli.options import Json
from palaver.shared.names import NORMAL_MOST

keys = typer.Typer(help="API keys of the gateway.", rich_markup_mode=None)
webhook = typer.Typer(help="Webhooks and who receives them.", rich_markup_mode=None)


@keys.command("create")
def create_key(
    *,
    name: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose all is that is done with it.")] = None,
    user: Annotated[str | None, typer.Option(help="And of which user of the tenant.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="This model, or PROFILE/*; may be repeated."),
    ] = None,
    tool: Annotated[
        list[str] | None,
        typer.Option("--tool", help="This tool of the workers, or SERVER__*; may be repeated."),
    ] = None,
    no_tools: Annotated[bool, typer.Option("--no-tools", help="None of the workers' tools.")] = False,
    agent: Annotated[
        list[str] | None,
        typer.Option("--agent", help="This agent, or PATH/*; may be repeated."),
    ] = None,
    no_agents: Annotated[bool, typer.Option("--no-agents", help="No agent.")] = False,
    extra: Annotated[
        list[str] | None,
        typer.Option(help="This field of providers, whatever it does or costs; may be repeated."),
    ] = None,
    priority: Annotated[
        int,
        typer.Option(min=0, max=9, help="The highest it may ask for; from 7 on jobs pass all others."),
    ] = NORMAL_MOST,
    rpm: Annotated[int | None, typer.Option(min=1, help="So many requests a minute.")] = None,
    days: Annotated[float | None, typer.Option(min=0.0001, help="Valid for so long.")] = None,
    as_json: Json = False,
) -> int:
    """Make an API key and show it, this once."""
    from palaver.producer.cli.keys import create

    return create(
        name=name,
        tenant=tenant,
        user=user,
        models=model or None,
        tools=[] if no_tools else tool or None,
        agents=[] if no_agents else agent or None,
        extra=extra or None,
        priority_most=priority,
        requests_per_minute=rpm,
        days=days,
        as_json=as_json,
    )


@keys.command("list")
def list_keys(*, as_json: Json = False) -> int:
    """All keys, without their secrets."""
    from palaver.producer.cli.keys import show

    return show(as_json=as_json)


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The first part of a key, behind plv_.")],
    *,
    as_json: Json = False,
) -> int:
    """Have gateways refuse a key, within five seconds."""
    from palaver.producer.cli.keys import revoke

    return revoke(key_id, as_json=as_json)


@webhook.command("secret")
def webhook_secret(
    tenant: Annotated[str | None, typer.Argument(help="Default: of jobs without a tenant.")] = None,
    *,
    as_json: Json = False,
) -> int:
    """Print what a tenant's receivers verify webhooks with. Needs the workers' PALAVER_WEBHOOK_SECRET."""
    from palaver.producer.cli.webhook import secret

    return secret(tenant, as_json=as_json)
