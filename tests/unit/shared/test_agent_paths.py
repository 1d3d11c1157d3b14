"""Paths of agents."""

import uuid
from typing import Any

import pytest

from palaver.shared.agent_paths import AgentPattern, check_agent
from palaver.shared.errors import ConfigurationError, ValidationError

ID = uuid.UUID("64ebc14c-ffb0-4603-b35a-a51d27adcaf5")


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("support/", "support/", {}),
        ("support/", "/support", {}),
        ("support", "support/", {}),
        ("support/", "supporters/", None),
        ("support/", "support/more", None),
        ("", "/", {}),
        ("a.b/", "axb/", None),
        ("docs/<int:number>/", "docs/42/", {"number": 42}),
        ("docs/<int:number>/", "docs/many/", None),
        ("docs/<name>/", "docs/a b/", {"name": "a b"}),
        ("docs/<name>/", "docs/a/b/", None),
        ("<slug:team>/<uuid:id>", f"blue-1/{ID}", {"team": "blue-1", "id": ID}),
        ("files/<path:place>/", "files/a/b.txt", {"place": "a/b.txt"}),
    ],
)
def test_a_path_fits_or_not(pattern: str, path: str, found: dict[str, Any] | None) -> None:
    assert AgentPattern.parse(pattern).match(path) == found


@pytest.mark.parametrize("pattern", ["<float:x>/", "<a-b>/", "<x>/<x>/"])
def test_what_is_no_pattern_is_named(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="path '<"):
        AgentPattern.parse(pattern)


def test_a_path_that_nobody_serves_is_refused_if_somebody_serves_some() -> None:
    check_agent("support", [])
    check_agent("support", ["sales/", "support/"])
    check_agent("2026/", ["support/", "^(?P<year>[0-9]{4})/$"])  # which only a worker can read
    with pytest.raises(ValidationError, match=r"served: sales/, support/") as refused:
        check_agent("x" * 300, ["support/", "sales/"], param="agent_path")
    assert refused.value.param == "agent_path"
    assert len(str(refused.value)) < 200
