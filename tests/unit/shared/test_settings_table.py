"""The page of settings says what the fields say."""

from pathlib import Path

from palaver.shared.settings import Settings
from palaver.shared.settings_table import descriptions, settings_table

PAGE = Path(__file__).parents[3] / "deploy/SETTINGS.md"


def test_the_page_in_the_house_is_the_one_that_the_fields_make() -> None:
    assert PAGE.read_text() == settings_table(), "run make schema"


def test_every_setting_has_a_line_that_says_what_it_is() -> None:
    told = descriptions()
    for name in Settings.model_fields:
        assert told.get(name), name
        assert f"| `PALAVER_{name.upper()}` |" in settings_table()


def test_a_line_tells_bounds_and_default() -> None:
    lines = settings_table().splitlines()

    assert "| number, at least 1, at most 604800 | `3600` |" in _line(lines, "DEADLINE")
    assert "| `text` or `json` | `text` |" in _line(lines, "LOG_FORMAT")
    assert "| whole number, at least 0 |  |" in _line(lines, "RESUME_SLOTS")


def _line(lines: list[str], name: str) -> str:
    return next(line for line in lines if line.startswith(f"| `PALAVER_{name}` "))
