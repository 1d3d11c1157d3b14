"""What `--help` says of each command is whole, on a terminal of 80 columns."""

import pytest

from palaver.producer.cli import main

GROUPS = ["", "job", "dead", "batch", "provider", "tenants", "keys", "webhook", "archive"]


@pytest.mark.parametrize("group", GROUPS)
def test_no_line_of_a_list_of_commands_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], group: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*group.split(), "--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2]
    assert listed
    assert [line for line in listed.splitlines() if line.endswith("...")] == []
