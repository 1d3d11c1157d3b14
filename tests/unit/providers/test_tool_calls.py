"""Fragments of tool calls, merged; what the recordings do not show."""

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
