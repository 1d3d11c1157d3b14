"""The catalog that a worker serves, read again when its files are written."""

from pathlib import Path
from typing import Any

import pytest

from palaver.shared.profiles import Catalog
from palaver.shared.settings import Settings
from palaver.workers.served import Served

PROFILE = '[providers.{name}]\nkind = "openai"\napi_key_file = "{key}"\n'


class Unused:
    """Nothing is lent here."""

    async def retire(self, _profile: str) -> None:
        """Of those that go."""


UNUSED: Any = Unused()


@pytest.mark.parametrize("of_the_key", [False, True])
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_what_is_written_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int, of_the_key: bool
) -> None:
    """As by who empties a file first, and then writes it: an empty one is a right one."""
    config, key = tmp_path / "palaver.toml", tmp_path / "key"
    key.write_text("one")
    config.write_text(PROFILE.format(name="first", key=key))
    load, seen = Catalog.load, list[tuple[str, str]]()

    def loading(settings: Settings) -> Catalog:
        seen.append((config.read_text(), key.read_text()))
        catalog = load(settings)
        if len(seen) == nth:
            late.write_text(last)
        return catalog

    late, last = (key, "another") if of_the_key else (config, PROFILE.format(name="last", key=key))
    monkeypatch.setattr(Catalog, "load", loading)
    served = Served(Settings(config=str(config)), UNUSED, UNUSED)
    if nth == 3:
        config.write_text(PROFILE.format(name="between", key=key))
    while await served.renew():
        assert len(seen) < 9
    assert seen[-1] == (config.read_text(), key.read_text())
