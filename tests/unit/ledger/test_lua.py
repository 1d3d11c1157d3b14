"""How the scripts are written: what a reader of one may rely on."""

import re
from importlib.resources import files

import pytest

from palaver.shared.ledger import load, script_names

_LUA = files("palaver.shared.ledger") / "lua"
SOURCES = {
    entry.name.removesuffix(".lua"): entry.read_text(encoding="utf-8")
    for entry in _LUA.iterdir()
    if entry.name.endswith(".lua")
}
PIECES = {name.removeprefix("_"): source for name, source in SOURCES.items() if name.startswith("_")}

KEYWORDS = "and break do else elseif end false for function if in local nil not or return then true while"
BUILTINS = "ARGV KEYS redis cjson ipairs math pairs string table tonumber type unpack"
LUA = {*KEYWORDS.split(), *BUILTINS.split()}
"""What needs no one to make it."""

_INCLUDE = re.compile(r"^-- include (\w+)$")


def top_names(source: str) -> set[str]:
    """The local names of a source's outermost level."""
    functions = re.findall(r"^local function (\w+)", source, re.MULTILINE)
    variables = re.findall(r"^local (?!function)([\w, ]+?)(?: =|$)", source, re.MULTILINE)
    return {*functions, *(name for group in variables for name in group.split(", "))}


def needs(piece: str) -> set[str]:
    """What a piece says that it needs: other pieces, or names."""
    head = " ".join(line.removeprefix("-- ") for line in piece.splitlines() if line.startswith("-- "))
    said = re.search(r"Needs: ([\w, ]+)\.", head)
    return set(said[1].split(", ")) if said else set()


def used(source: str) -> set[str]:
    """The names in a source that it does not make itself."""
    code = re.sub(r"--.*|'[^'\n]*'", "", source)
    code = re.sub(r"\{[^{}]*\}", lambda table: re.sub(r"\w+ =(?!=)", "", table[0]), code)
    made = " ".join(
        name
        for places in (r"\blocal ([\w, ]+)", r"\bfunction[ \w]*\(([\w, ]*)\)", r"\bfor ([\w, ]+?) (?:=|in)")
        for name in re.findall(places, code)
    )
    return set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", code)) - set(re.findall(r"\w+", made))


@pytest.mark.parametrize("name", script_names())
def test_what_a_piece_needs_stands_before_it(name: str) -> None:
    known: set[str] = set()
    for line in SOURCES[name].splitlines():
        if included := _INCLUDE.match(line):
            piece = PIECES[included[1]]
            assert needs(piece) <= known, f"{name}: {included[1]} needs {needs(piece) - known} before it"
            known |= {included[1], *top_names(piece)}
        known |= top_names(line)


@pytest.mark.parametrize("name", script_names())
def test_no_name_comes_from_nowhere(name: str) -> None:
    assert used(load(name).source) <= LUA


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_says_what_it_needs(name: str) -> None:
    said = needs(PIECES[name])
    given = said.union(*(top_names(PIECES[piece]) for piece in said if piece in PIECES))
    elsewhere = {"base", "sid", "job", "fence"}.union(*map(top_names, PIECES.values()))
    foreign = used(PIECES[name]) & elsewhere - top_names(PIECES[name])
    assert foreign <= given, f"{name} does not say that it needs {foreign - given}"


@pytest.mark.parametrize("name", SOURCES)
def test_arguments_have_names(name: str) -> None:
    numbered = [line for line in SOURCES[name].splitlines() if re.search(r"(ARGV|KEYS)\[\d+\]", line)]
    assert not [line for line in numbered if not line.startswith("local ")]
