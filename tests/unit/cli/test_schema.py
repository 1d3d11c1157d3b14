"""`palaver schema`: print, write, check."""

import json
from pathlib import Path

import pytest

from palaver.producer.cli import main


def test_prints_every_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    documents = json.loads(capsys.readouterr().out)
    assert {"asyncapi.json", "chat_job.schema.json", "event.schema.json"} <= set(documents)


def test_what_was_written_is_up_to_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "schemas"
    assert main(["schema", "--write", str(folder)]) == 0
    assert main(["schema", "--check", str(folder)]) == 0
    capsys.readouterr()
    assert main(["schema", "--check", "--json", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["stale"] == []


@pytest.mark.parametrize("spoil", ["change", "remove"])
def test_a_stale_file_is_named(spoil: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["schema", "--write", str(tmp_path)])
    path = tmp_path / "event.schema.json"
    path.write_text("{}") if spoil == "change" else path.unlink()
    capsys.readouterr()
    assert main(["schema", "--check", str(tmp_path)]) == 1
    assert capsys.readouterr().out == f"stale: {path}\n"


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    main(["schema", "--write", str(tmp_path)])
    assert (tmp_path / "package.json").read_text() == "{}"
    assert main(["schema", "--check", str(tmp_path)]) == 0


def test_without_a_folder_to_check_it_says_what_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--check", "/nonexistent"]) == 2
    assert "palaver schema --write /nonexistent" in capsys.readouterr().err
