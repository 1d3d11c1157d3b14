"""Run one command line: exit codes, and every failure as one line on stderr."""

import os
import sys

import typer

from palaver.producer.cli import streams


def main(arguments: list[str] | None = None) -> int:
    """Run `palaver ARGUMENTS` (default: this process's) and return its exit code.

    0 done, 1 the job failed, 2 wrong usage or input, or output that cannot be written, 3 a service is
    unreachable.
    """
    from palaver.producer.cli.app import app

    words = sys.argv[1:] if arguments is None else arguments
    streams.open_closed()
    streams.take_any_text()
    _warn_of_unknown_variables(words)
    try:
        return _run(app, words)
    finally:
        streams.give_up_broken()


def _run(app: typer.Typer, words: list[str]) -> int:
    try:
        code = app(args=words or ["--help"], prog_name="palaver", standalone_mode=False) or 0
        sys.stdout.flush()
        return int(code)
    except typer.TyperException as error:
        return _wrong_usage(error, words)
    except typer.Abort:
        return 1
    except BrokenPipeError:
        return 0  # whoever read the output (`| head`) has enough
    # The classes are looked up only when something failed, so that --help need not load them.
    except _expected() as error:
        from palaver.producer.cli.failures import report

        return report(error, as_json="--json" in words)


def _warn_of_unknown_variables(words: list[str]) -> None:
    # Only a worker says it itself. Settings are loaded for this where there are any, so that --help need not.
    if words[:1] == ["worker"] or not any(name.upper().startswith("PALAVER_") for name in os.environ):
        return
    from palaver.shared.settings import unknown_variables

    if warning := unknown_variables(os.environ):
        from palaver.producer.cli.failures import warn

        warn(warning, as_json="--json" in words)


def _expected() -> tuple[type[Exception], ...]:
    from palaver.shared.errors import PalaverError

    return (PalaverError, OSError)


def _wrong_usage(error: typer.TyperException, words: list[str]) -> int:
    from palaver.producer.cli.failures import complain

    context = getattr(error, "ctx", None)
    path = context.command_path if context else "palaver"
    complain(
        f"{error.format_message().rstrip('.')}; see {path} --help", code="usage", as_json="--json" in words
    )
    return 2
