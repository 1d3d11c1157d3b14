"""`palaver usage` against a running `palaver dev`."""

import json
from typing import Any

import pytest

from tests.integration.cli.shell import Inside

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("palaver-dev")]

COUNTED = json.dumps({"n": 2, "usage": {"input_tokens": 30, "output_tokens": 40}})
UNCOUNTED = json.dumps({"n": 2, "usage": False})


def rows(served: Inside, *words: str) -> list[dict[str, Any]]:
    done = served.run("usage", "--json", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_was_spent_is_told_by_day_tenant_and_model(served: Inside) -> None:
    for _ in range(2):
        assert "$0.000070" in served.run("chat", COUNTED, "--model", "priced/echo").stderr
    served.run("chat", UNCOUNTED, "--model", "scripted/echo")
    (row,) = [row for row in rows(served, "--tenant", "") if row["model"] == "priced/echo"]
    assert (row["jobs"], row["requests"], row["hits"]) == (2, 2, 0)
    assert (row["input_tokens"], row["output_tokens"], row["cost"]) == (60, 80, 0.00014)
    assert rows(served, "--tenant", "nobody") == []
    shown = served.run("usage")
    assert "$0.000140" in next(line for line in shown.stdout.splitlines() if "priced/echo" in line)
    assert "~ partly estimated" in shown.stderr
    assert served.run("usage", "--since", "2020-01-01", "--until", "2020-01-02").stdout == ""


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "9999-01-01"])
def test_a_day_that_is_none_is_wrong_usage(served: Inside, day: str) -> None:
    done = served.run("usage", "--since", day)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "since" in done.stderr
