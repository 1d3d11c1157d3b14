"""Fragments of tool calls, merged; what the recordings do not show."""

from typing import TypeGuard

import pytest

from palaver.workers.providers import ToolCallPart, WarningPart
from palaver.workers.providers.tool_calls import ToolCallMerger


@pytest.mark.parametrize("arguments", [None, "", '{"a": 1', "{"])
def test_a_call_that_the_length_limit_cut_is_left_out_and_told(arguments: str | None) -> None:
    merger = ToolCallMerger()
    merger.feed(0, "c0", "look", '{"at": "sky"}')
    merger.feed(1, "c1", "delete", arguments)
    call, warning = merger.finish(truncated=True)
    assert call == ToolCallPart("c0", "look", {"at": "sky"})
    assert isinstance(warning, WarningPart)
    assert (warning.code, "'delete'" in warning.message) == ("tool_call_truncated", True)


def test_a_call_without_arguments_before_the_last_was_whole() -> None:
    merger = ToolCallMerger()
    merger.feed(0, "c0", "look", None)
    merger.feed(1, "c1", "look", "{}")
    calls = merger.finish(truncated=True)
    assert calls == [ToolCallPart("c0", "look", {}), ToolCallPart("c1", "look", {})]


@pytest.mark.parametrize("whole", ['{"at": "sky"}', {"at": "sky"}])
def test_whole_calls_without_ids_at_one_index_are_several(whole: object) -> None:
    merger = ToolCallMerger()
    for name, arguments in (("look", whole), ("look", '{"at": "sea"}'), ("wait", "{}")):
        merger.feed(0, None, name, arguments)
    calls = [(call.name, call.arguments) for call in merger.finish(truncated=False) if is_call(call)]
    assert calls == [("look", {"at": "sky"}), ("look", {"at": "sea"}), ("wait", {})]


def test_a_call_in_pieces_without_an_id_is_one() -> None:
    """Whose server repeats the name with each of them, and the whole at the end."""
    merger = ToolCallMerger()
    for piece in ('{"at": {"x": 1}', ', "y": {}', "}", '{"at": {"x": 1}, "y": {}}'):
        merger.feed(0, None, "look", piece)
    (call,) = merger.finish(truncated=False)
    assert is_call(call)
    assert call.arguments == {"at": {"x": 1}, "y": {}}


def is_call(part: ToolCallPart | WarningPart) -> TypeGuard[ToolCallPart]:
    return isinstance(part, ToolCallPart)
