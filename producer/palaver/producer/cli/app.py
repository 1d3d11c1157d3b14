"""The commands and their options. Each imports what it needs only when it runs: `palaver` starts quickly."""

from pathlib import Path
from typing import Annotated

import typer

from palaver.producer.cli.app_secrets import keys, webhook
from palaver.producer.cli.options import Json

app = typer.Typer(
    epilog="Exit codes: 0 done, 1 the job failed, 2 wrong usage, input or output, 3 a service is not there.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
job = typer.Typer(help="Look at a job, cancel it, or do it again.", rich_markup_mode=None)
app.add_typer(job, name="job")
dead = typer.Typer(help="Dead letters: jobs that failed or expired.", rich_markup_mode=None)
app.add_typer(dead, name="dead")
batch = typer.Typer(help="Many jobs from one file: constant memory, each line once.", rich_markup_mode=None)
app.add_typer(batch, name="batch")
provider = typer.Typer(help="Have a provider asked by nobody for a while.", rich_markup_mode=None)
app.add_typer(provider, name="provider")
tenants = typer.Typer(help="What each tenant may have: [tenants] of palaver.toml.", rich_markup_mode=None)
app.add_typer(tenants, name="tenants")
app.add_typer(keys, name="keys")
app.add_typer(webhook, name="webhook")
archive = typer.Typer(help="The database of conversations, PALAVER_ARCHIVE_URL.", rich_markup_mode=None)
app.add_typer(archive, name="archive")


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"palaver {version('palaver')}")
        raise typer.Exit


@app.callback()
def palaver(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it and leave.")
    ] = False,
) -> None:
    """Durable, resumable LLM chats over Celery and Redis."""


Agents = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE",
        help="Serve the agents of these modules, or files such as my_agents.py, separated by commas.",
    ),
]
PortOfRedis = Annotated[
    int | None, typer.Option(min=0, max=65535, show_default="6379 if it is free", help="0: any free one.")
]
PortOfGateway = Annotated[
    int | None, typer.Option(min=0, max=65535, show_default="8080 if it is free", help="0: any free one.")
]
PortOfFlower = Annotated[
    int | None, typer.Option(min=0, max=65535, show_default="5555 if it is free", help="0: any free one.")
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="The batch's id.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Do not follow it.")]
JobIds = Annotated[list[str] | None, typer.Argument(metavar="JOB…", help="Ids of jobs.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All dead letters.")]


@app.command()
def dev(
    *,
    port_redis: PortOfRedis = None,
    port_flower: PortOfFlower = None,
    flower: Annotated[bool, typer.Option("--flower/--no-flower", help="Start Flower.")] = True,
    port_gateway: PortOfGateway = None,
    gateway: Annotated[bool, typer.Option("--gateway/--no-gateway", help="Start the HTTP gateway.")] = True,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Streams at once in the worker.")] = None,
    agents: Agents = None,
    as_json: Json = False,
) -> int:
    """Run it all here: Redis, a worker, the HTTP gateway, Flower. Ctrl-C stops it.

    Redis is PALAVER_REDIS_URL, else a redis-server or valkey-server on PATH, else the packaged one, else
    fakeredis.
    """
    from palaver.producer.cli.dev import Options, run

    return run(
        Options(
            port_redis=port_redis,
            port_flower=port_flower,
            flower=flower,
            port_gateway=port_gateway,
            gateway=gateway,
            concurrency=concurrency,
            agents=agents,
        ),
        as_json=as_json,
    )


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def worker(context: typer.Context, *, agents: Agents = None, as_json: Json = False) -> int:
    """Run a worker here.

    All other options go to Celery's worker: --concurrency 500, --queues palaver.high, --loglevel DEBUG.
    They are listed by celery -A palaver.workers worker --help
    """
    from palaver.producer.cli.worker import run

    return run(context.args, agents=agents)


@app.command()
def gateway(
    *,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0: everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
    as_json: Json = False,
) -> int:
    """Serve HTTP: OpenAI's and Anthropic's APIs, sessions, events. Ctrl-C stops it."""
    from palaver.producer.cli.gateway import run

    return run(host, port, as_json=as_json)


@app.command()
def exporter(
    *,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0: everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 9463,
    as_json: Json = False,
) -> int:
    """Tell Prometheus of queues, tenants, gates and workers. Ctrl-C stops it."""
    from palaver.producer.cli.exporter import run

    return run(host, port, as_json=as_json)


@app.command()
def chat(
    message: Annotated[str, typer.Argument(help="What to say; - reads it from stdin.")],
    *,
    model: Annotated[str | None, typer.Option("--model", "-m", help="profile/model, or an alias.")] = None,
    session: Annotated[str | None, typer.Option("--session", "-s", help="Go on with this session.")] = None,
    tenant: Annotated[str | None, typer.Option(help="For whom, and whose the session is.")] = None,
    user: Annotated[str | None, typer.Option(help="And for which user of the tenant.")] = None,
    system: Annotated[str | None, typer.Option(help="The system prompt.")] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", "-a", help="The agent at this path answers.")
    ] = None,
    file: Annotated[
        list[str] | None, typer.Option("--file", "-f", help="A file that goes with it; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Submit a chat job and stream the answer. Ctrl-C cancels the job.

    Into a pipe the answer is written whole at its end; --json streams the job's events instead.
    """
    from palaver.producer.cli.chat import run

    return run(
        message,
        file or [],
        as_json=as_json,
        model=model,
        session_id=session,
        tenant=tenant,
        user=user,
        system=system,
        agent=agent,
    )


@app.command()
def tail(
    session: Annotated[str, typer.Argument(help="The session's id.")],
    *,
    after: Annotated[int, typer.Option(min=0, help="Only what comes after this seq.")] = 0,
    as_json: Json = False,
) -> int:
    """Follow a session: first its log, then live, until Ctrl-C."""
    from palaver.producer.cli.tail import run

    return run(session, after=after, as_json=as_json)


@job.command()
def show(job_id: JobId, *, as_json: Json = False) -> int:
    """Status, answer and error of a job."""
    from palaver.producer.cli.jobs import show

    return show(job_id, as_json=as_json)


@job.command()
def cancel(job_id: JobId, *, as_json: Json = False) -> int:
    """Ask a job to stop, and wait until it has. Its partial answer is kept."""
    from palaver.producer.cli.jobs import cancel

    return cancel(job_id, as_json=as_json)


@job.command()
def retry(job_id: JobId, *, as_json: Json = False) -> int:
    """Do an ended job again, as a new job in its session. Repeated, it names the same new job."""
    from palaver.producer.cli.jobs import retry

    return retry([job_id], as_json=as_json)


@dead.command("list")
def list_dead(
    *,
    limit: Annotated[int, typer.Option(min=1, help="Show so many, the latest first.")] = 100,
    as_json: Json = False,
) -> int:
    """Jobs that failed or expired: why, and after how much."""
    from palaver.producer.cli.dead import show

    return show(limit, as_json=as_json)


@dead.command("retry")
def retry_dead(job_ids: JobIds = None, *, everything: All = False, as_json: Json = False) -> int:
    """Do jobs again, as new jobs in their sessions. One that cannot be stays a dead letter."""
    from palaver.producer.cli.dead import retry

    return retry(job_ids or [], everything=everything, as_json=as_json)


@dead.command("drop")
def drop_dead(job_ids: JobIds = None, *, everything: All = False, as_json: Json = False) -> int:
    """Take dead letters off the list. The jobs can be looked at until their time is over."""
    from palaver.producer.cli.dead import drop

    return drop(job_ids or [], everything=everything, as_json=as_json)


@batch.command("submit")
def submit_batch(
    file: Annotated[
        str, typer.Argument(help="JSON lines: OpenAI's batch format, or jobs; - reads them from stdin.")
    ],
    *,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Of lines that name none: profile/model, or an alias.")
    ] = None,
    window: Annotated[int | None, typer.Option(min=1, help="So many lines at once, in all.")] = None,
    hours: Annotated[float, typer.Option(min=0.001, max=168, help="What is not done by then expires.")] = 24,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="The first failure ends it.")] = False,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Ask equal lines once.")] = False,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave wrong lines out, and tell them in the errors.")
    ] = False,
    webhook: Annotated[str | None, typer.Option(metavar="URL", help="Is told the end.")] = None,
    key: Annotated[str | None, typer.Option(help="Given again, it opens no second batch.")] = None,
    detach: Detach = False,
    as_json: Json = False,
) -> int:
    """Open a batch of a file's lines, print its id and follow it.

    Every line is checked first, and nothing is stored while one is wrong. Ctrl-C ends the following, not the
    batch. Exit code 0: every line was answered.
    """
    from palaver.producer.cli.batches import submit

    return submit(
        file,
        skip_invalid=skip_invalid,
        detach=detach,
        as_json=as_json,
        model=model,
        window=window,
        completion_window=hours * 3600,
        fail_fast=fail_fast,
        dedupe=dedupe,
        idempotency_key=key,
        webhook=webhook,
    )


@batch.command("status")
def show_batch(
    batch_id: BatchId,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until its end.")] = False,
    as_json: Json = False,
) -> int:
    """How far it is: done, failed, tokens, cost."""
    from palaver.producer.cli.batches import status

    return status(batch_id, wait=follow, as_json=as_json)


@batch.command("results")
def batch_results(
    batch_id: BatchId,
    *,
    completion: Annotated[
        bool, typer.Option("--completion", help="As they are done, not in the order of the lines.")
    ] = False,
    errors: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the lines that failed there instead.")
    ] = None,
) -> int:
    """The results in OpenAI's format, live, until its end."""
    from palaver.producer.cli.batches import results

    return results(batch_id, order="completion" if completion else "input", errors=errors)


@batch.command("cancel")
def cancel_batch(batch_id: BatchId, *, as_json: Json = False) -> int:
    """Begin no line any more, end those that run; what is done is kept."""
    from palaver.producer.cli.batches import cancel

    return cancel(batch_id, as_json=as_json)


@batch.command("retry")
def retry_batch(batch_id: BatchId, *, detach: Detach = False, as_json: Json = False) -> int:
    """Do lines without an answer again, as a new batch; follow it."""
    from palaver.producer.cli.batches import retry

    return retry(batch_id, detach=detach, as_json=as_json)


@archive.command("upgrade")
def upgrade_archive(*, as_json: Json = False) -> int:
    """Make or change its tables, as this version needs them. Done twice, it changes nothing."""
    from palaver.producer.cli.archive import upgrade

    return upgrade(as_json=as_json)


@archive.command("check")
def check_archive(*, as_json: Json = False) -> int:
    """Does it answer, and is it of this version?"""
    from palaver.producer.cli.archive import check

    return check(as_json=as_json)


@provider.command("pause")
def pause_provider(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The profile in palaver.toml.")],
    *,
    hours: Annotated[float, typer.Option(help="It ends by itself then.", min=0.0001, max=720)] = 720,
    as_json: Json = False,
) -> int:
    """No worker begins a request to it; what runs goes on to its end.

    Jobs go to the next model of their list, or wait in the ledger until it is resumed or their time is over.
    """
    from palaver.producer.cli.provider import pause

    return pause(name, seconds=hours * 3600, as_json=as_json)


@provider.command("resume")
def resume_provider(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The profile in palaver.toml.")],
    *,
    as_json: Json = False,
) -> int:
    """Workers ask it again, at once; those who waited go first."""
    from palaver.producer.cli.provider import resume

    return resume(name, as_json=as_json)


@tenants.command("announce")
def announce_tenants(
    *,
    none: Annotated[
        bool, typer.Option("--none", help="Also where nothing is bounded: nobody is then.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Have producers hold to the bounds of this palaver.toml.

    Gateways too, and also while no worker runs.

    Workers announce theirs by themselves. What the last of them has said holds for 30 days, unless this says
    otherwise; that of workers that run stays in force beside it, and the stricter of both holds.
    """
    from palaver.producer.cli.tenants import announce

    return announce(none=none, as_json=as_json)


@app.command()
def drain(
    name: Annotated[str, typer.Argument(metavar="WORKER", help="Its name in palaver status.")],
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is gone.")] = False,
    as_json: Json = False,
) -> int:
    """Have a worker take no more jobs, and leave. No stream is lost.

    Streams may end for PALAVER_DRAIN_SECONDS; the rest is handed over to other workers.

    What keeps it running (Kubernetes, compose, systemd) then starts another in its place: to have one fewer,
    change the number there.

    Exit code 0: it has said that it drains (with --wait: it is gone); 1: it does not answer.
    """
    from palaver.producer.cli.drain import run

    return run(name, wait=wait, as_json=as_json)


@app.command()
def status(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Ask no provider; for health checks.")] = False,
    as_json: Json = False,
) -> int:
    """Ledger, broker, queues, workers, providers on one screen.

    Within 10 seconds. Exit code 0 only when a live worker consumes and its providers answer. Spends no token.
    """
    from palaver.producer.cli.status import run

    return run(as_json=as_json, quick=quick)


@app.command()
def usage(
    *,
    since: Annotated[str | None, typer.Option(metavar="DAY", help="From this day, like 2026-11-21.")] = None,
    until: Annotated[str | None, typer.Option(metavar="DAY", help="To this day; default: today.")] = None,
    tenant: Annotated[str | None, typer.Option(help='Of this tenant; "": of jobs without one.')] = None,
    as_json: Json = False,
) -> int:
    """What was spent, by day (UTC), tenant and model. By default today."""
    from palaver.producer.cli.usage import run

    return run(since, until, tenant=tenant, as_json=as_json)


@app.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Profiles, or mcp.SERVER. Default: all."),
    ] = None,
    *,
    as_json: Json = False,
) -> int:
    """Is palaver.toml right, does all that it names answer?

    Each provider is asked, and each server of tools. Spends no token.
    """
    from palaver.producer.cli.check import run

    return run(names or [], as_json=as_json)


@app.command()
def schema(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", show_default=True)] = Path("shared/schemas"),
    *,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if the files in DIR are stale.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the files into DIR.")] = False,
    as_json: Json = False,
) -> int:
    """Print, check or write JSON Schemas and AsyncAPI."""
    from palaver.producer.cli.schema import run

    return run(folder, check=check, write=write, as_json=as_json)
