"""A script touches keys of one slot of a Redis Cluster: what it makes of its key keeps the key's braces."""

import re
from importlib.resources import files

import pytest

SCRIPTS = {
    file.name: file.read_text()
    for file in files("palaver.shared.ledger").joinpath("lua").iterdir()
    if file.name.endswith(".lua") and not file.name.startswith("_")
}
MAKES_KEYS = re.compile(r"KEYS 1:\w|KEYS\[1\] \.\. ':|include (gate|batch|ready|jobs|webhooks)\b")


@pytest.mark.parametrize("name", sorted(name for name, text in SCRIPTS.items() if MAKES_KEYS.search(text)))
def test_keys_that_a_script_makes_are_in_the_slot_of_its_own(name: str) -> None:
    told = re.search(r"^-- KEYS 1 (.+)$", SCRIPTS[name], re.MULTILINE)
    assert told is not None
    untagged = [key for key in told[1].split(" | ") if not re.search(r"\{\S+\}", key)]
    assert untagged == []


def test_the_scripts_were_found() -> None:
    assert {"submit.lua", "webhook_take.lua", "gate_enter.lua"} <= SCRIPTS.keys()
