"""The house rules that a machine can hold: sizes, doors, addresses, reasons."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.xdist_group("house")  # so that each file is parsed once

ROOMS = ("shared", "producer", "workers")
LONGEST_FILE = 500
LONGEST_FUNCTION = 60
PERCENTILES = {90: 20, 95: 32}
POSITIONAL = 5

# Who calls them gives what is theirs to give.
LONG_CALLS = {"workers/palaver/workers/pool/direct.py:run_direct": "the arguments of Celery's tracer"}

# The outermost boundaries, where an unknown error has to become an ended job, a log line or an exit code.
BROAD_EXCEPTS: dict[str, str] = {
    "producer/palaver/producer/gateway/app.py:__call__": "the server would log the exception's text",
    "producer/palaver/producer/gateway/access/watch.py:_try": "who watches goes on; told in the log",
    "producer/palaver/producer/interfaces/completing.py:_continued": "a caller's function; told in the log",
    "producer/palaver/producer/interfaces/outlet.py:deliver": "the same",
    "shared/palaver/shared/hooks.py:_tried": "a caller's function; told in the log",
    "workers/palaver/workers/agents/code.py:guarded": "user code; what it raises is told by its class",
    "workers/palaver/workers/app.py:check_broker": "brokers have errors of their own",
    "workers/palaver/workers/app.py:connect": "the same, in its thread",
    "workers/palaver/workers/check.py:_check": "user code; one provider must not hide the others",
    "workers/palaver/workers/files/child.py:_answer": "what an extractor raises is its result",
    "workers/palaver/workers/generation/prompts.py:text": "user code; what it raises is told by its class",
    "workers/palaver/workers/generation/toolbox.py:_run": "the same",
    "workers/palaver/workers/generation/user_code.py:_work": "what user code raises is its result",
    "workers/palaver/workers/mcp/connection.py:_stay": "no server of tools may end the worker",
    "workers/palaver/workers/stop.py:uninterrupted": "what is thrown in meanwhile waits for the work",
    "workers/palaver/workers/pool/bridge.py:_settle": "what a result backend raises is its result",
    "workers/palaver/workers/pool/direct.py:__await__": "hands exceptions on to the coroutine",
    "workers/palaver/workers/pool/direct.py:run_direct": "what a user's task raises is its result",
    "workers/palaver/workers/pool/execution.py:_einfo": "describes an error for Celery",
    "workers/palaver/workers/pool/execution.py:_main": "what a user's task raises is its result",
    "workers/palaver/workers/loop.py:_run": "a loop that crashed must end the process",
    "workers/palaver/workers/pool/mailbox.py:_run": "a faulty signal handler must not end the other streams",
    "workers/palaver/workers/pool/queues.py:lengths": "brokers have errors of their own",
    "workers/palaver/workers/pool/residents.py:_leave": "a worker that stops goes on stopping",
    "workers/palaver/workers/pool/post.py:_publish": "brokers have errors of their own",
    "workers/palaver/workers/pool/post.py:_tell": "the same",
    "workers/palaver/workers/pool/tracer.py:__await__": "hands exceptions on to the greenlet",
    "workers/palaver/workers/pool/tracer.py:wait_for": "hands exceptions on to the coroutine",
    "workers/palaver/workers/pour.py:_arrived": "what a body's taker raises is raised where it is awaited",
    "workers/palaver/workers/ending.py:_finish": "what cannot be written must end the job",
    "workers/palaver/workers/probing.py:examine": "user code; whoever asks is told its class",
    "workers/palaver/workers/run.py:failure_of": "a bug must end the job, not its readers",
    "workers/palaver/workers/sinks/following.py:tell": "whatever a sink raises, no job may know",
    "workers/palaver/workers/rounds.py:for_ever": "leases must outlive a bug",
    "workers/palaver/workers/webhooks/deliverer.py:_see_to": "one delivery must not end the others",
}

# Everything else is told by `Settings`, and by what the profiles name.
READ_THE_ENVIRONMENT = {
    "producer/palaver/producer/cli/demo.py": "sets what its parts are to find",
    "producer/palaver/producer/cli/entry.py": "names variables that are no settings",
    "producer/palaver/producer/cli/processes.py": "hands it on to a process",
    "producer/palaver/producer/cli/terminal.py": "what terminals can do",
    "producer/palaver/producer/cli/worker.py": "sets an option for the process that it becomes",
    "producer/palaver/producer/django/management/commands/palaver_worker.py": "the same",
    "producer/palaver/producer/interfaces/clients.py": "whether the settings may have changed",
    "shared/palaver/shared/profiles.py": "keys, under names that profiles give",
    "shared/palaver/shared/settings.py": "the one place",
    "shared/palaver/shared/tool_servers.py": "keys, under names that servers of tools give",
    "workers/palaver/workers/app.py": "names variables that are no settings; Celery's colours",
    "workers/palaver/workers/files/kreuzberg_extractor.py": "sets what libraries find in its own process",
    "workers/palaver/workers/files/processes.py": "hands some of it on to a process",
    "workers/palaver/workers/flowerconfig.py": "a setting of Flower's",
    "workers/palaver/workers/sinks/pusher_settings.py": "a secret, under a name that the sink gives",
    "workers/palaver/workers/tracing/spans.py": "a setting of OpenTelemetry's",
}


@cache
def tracked() -> tuple[Path, ...]:
    """Every file under version control, and those that would be."""
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return tuple(path for line in done.stdout.splitlines() if (path := ROOT / line).is_file())


def sources(*tops: str) -> Iterator[Path]:
    for path in tracked():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in tops:
            yield path


@dataclass(frozen=True, slots=True)
class Source:
    """What is asked of a file. Its tree is not kept: all of them would slow every collection of garbage."""

    functions: tuple[tuple[str, int], ...]  # name and length, without docstring and decorators
    long_calls: tuple[str, ...]  # functions of more than `POSITIONAL` parameters that need no keyword
    broad: tuple[str, ...]  # functions with a broad `except` that does not raise again
    opened: frozenset[str]  # what it imports of palaver, by the names that it gives it
    environment: bool  # whether it looks into the environment of its process


@cache
def source(path: Path) -> Source:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return Source(
        functions=tuple(
            (f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", _lines(node)) for node in functions
        ),
        long_calls=tuple(node.name for node in functions if _positional(node) > POSITIONAL),
        broad=tuple(node.name for node in functions if _is_broad(node)),
        opened=frozenset(
            alias.asname or alias.name
            for node in nodes
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("palaver.")
            for alias in node.names
        ),
        environment=any(map(_is_environment, nodes)),
    )


def functions(*tops: str) -> Iterator[tuple[str, int]]:
    """Name and length of every function."""
    for path in sources(*tops):
        yield from source(path).functions


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and ast.get_docstring(node) is not None:
        length -= (first.end_lineno or first.lineno) - first.lineno + 1
    return length


def _positional(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many arguments may be given without a name, `self` not counted."""
    names = [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_no_file_is_long() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in sources(*ROOMS, "tests", "deploy", "requirements")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }
    assert not long


def test_no_function_is_long() -> None:
    assert not [(name, count) for name, count in functions(*ROOMS, "tests") if count > LONGEST_FUNCTION]


def test_calls_name_what_is_not_obvious() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{name}" for path in sources(*ROOMS) for name in source(path).long_calls
    }
    assert found == set(LONG_CALLS), "name those behind the fifth: `*` in the parameters"


@pytest.mark.parametrize("room", ROOMS)
def test_nearly_all_functions_are_short(room: str) -> None:
    lengths = sorted(count for _, count in functions(room))
    for percentile, most in PERCENTILES.items():
        assert lengths[len(lengths) * percentile // 100] <= most, f"p{percentile} of {room}"


def test_only_boundaries_catch_everything() -> None:
    found = {f"{path.relative_to(ROOT)}:{name}" for path in sources(*ROOMS) for name in source(path).broad}
    assert found == set(BROAD_EXCEPTS), "a new boundary needs its reason in BROAD_EXCEPTS"


def _is_broad(function: ast.AST) -> bool:
    return any(
        isinstance(node, ast.ExceptHandler) and _catches_all(node) and not _raises_again(node)
        for node in ast.walk(function)
    )


def _catches_all(handler: ast.ExceptHandler) -> bool:
    names = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        n is None or (isinstance(n, ast.Name) and n.id in ("Exception", "BaseException")) for n in names
    )


def _raises_again(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.body[-1], ast.Raise)


def test_the_environment_is_read_in_one_place() -> None:
    found = {str(path.relative_to(ROOT)) for path in sources(*ROOMS) if source(path).environment}
    assert found == set(READ_THE_ENVIRONMENT), "a setting belongs into Settings"


def _is_environment(node: ast.AST) -> bool:
    names = ("environ", "environb", "getenv", "getenvb")
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in names for alias in node.names)
    return isinstance(node, ast.Attribute) and node.attr in names


@pytest.mark.parametrize("room", ROOMS)
def test_the_namespace_has_no_init(room: str) -> None:
    assert not (ROOT / room / "palaver" / "__init__.py").exists(), "it would hide the other rooms"
    assert (ROOT / room / "palaver" / room / "py.typed").exists()


@pytest.mark.parametrize("path", [p for p in sources(*ROOMS) if p.name == "__init__.py"], ids=str)
def test_a_door_names_all_that_it_opens(path: Path) -> None:
    """A package's __init__ lists in __all__ what it imports, and has all that it lists; ruff sorts it."""
    name = ".".join(path.relative_to(ROOT).parts[1:-1])
    door = importlib.import_module(name)
    listed = getattr(door, "__all__", [])
    assert {word for word in source(path).opened if not word.startswith("_")} <= set(listed), name
    assert [word for word in listed if not hasattr(door, word)] == []


# Spelled so that this file does not find itself.
_MACHINE = (r"/wo" r"rk/", r"/ro" r"ot/", r"/ho" r"me/", r"/Us" r"ers/", r"/opt/py" r"pi")
_REGISTRY = (r"py" r"pi\.org", r"pythonhost" r"ed", r"artifact" r"ory", r"://[^ ]*/sim" r"ple\b")


def test_no_machine_and_no_registry_is_named() -> None:
    addresses = re.compile("|".join(_MACHINE + _REGISTRY))
    found = {
        str(path.relative_to(ROOT)): match[0]
        for path in tracked()
        if (match := addresses.search(path.read_bytes().decode("utf-8", "replace")))
    }
    assert not found


def test_every_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = tomllib.loads(text)
    tables = [declared["project"]["dependencies"], *declared["project"]["optional-dependencies"].values()]
    tables += declared["dependency-groups"].values()
    for requirement in (line for table in tables for line in table if not line.startswith("palaver[")):
        assert re.search(re.escape(f'"{requirement}"') + r",\s+# \w", text), f"{requirement}: why?"


def test_every_ruff_exception_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    ignored = text.partition("ignore = [\n")[2].partition("\n]")[0]
    rules = ignored.splitlines() + re.findall(
        r'^"[^"]+" = \[.*$', text.partition("per-file-ignores]\n")[2], re.M
    )
    assert rules
    assert not [line for line in rules if "#" not in line]


def test_every_exception_to_a_rule_of_bandit_has_its_reason() -> None:
    unexplained = re.compile(r"# noqa: [^-]*\bS\d{3}\b(?! - \w)[^-]*$")
    assert not [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sources(*ROOMS, "requirements")
        for line in path.read_text(encoding="utf-8").splitlines()
        if unexplained.search(line)
    ]


def test_the_locks_are_of_this_pyproject() -> None:
    command = (sys.executable, ROOT / "requirements" / "lock.py", "--check")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", ["producer", "workers", "tests", "deploy"])
def test_every_top_folder_has_a_page(folder: str) -> None:
    page = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 70, "at most a page"


def test_pages_name_only_programs_that_there_are() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in tracked() if path.suffix == ".md")
    modules = {name.rstrip(".") for name in re.findall(r"python -m ([\w.]+)", pages)}
    assert [name for name in sorted(modules) if importlib.util.find_spec(name) is None] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", pages)) - targets == set()
