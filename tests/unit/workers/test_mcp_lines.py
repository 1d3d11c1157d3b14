"""What a process writes to us, line by line: whatever it writes, a worker keeps no more than its bound.

The package for MCP is imported by the tests, not by every process that collects them.
"""

import codecs
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.shared.tool_servers import ToolServer

LONG = 40_000_000
NEXT = '{"jsonrpc":"2.0","id":1,"result":{}}'
SHELL = f"head -c {LONG} /dev/zero | tr '\\000' x; echo; echo '{NEXT}'; cat"


def read(pieces: list[bytes]) -> list[str]:
    from palaver.workers.mcp import lines

    decoder = codecs.getincrementaldecoder(lines.ENCODING)("replace")
    return "".join([decoder.decode(piece) for piece in pieces] + [decoder.decode(b"", True)]).split("\n")


@given(
    st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=90)),
    st.data(),
)
def test_lines_within_the_bound_come_whole_however_they_are_cut(
    texts: list[str], data: st.DataObject
) -> None:
    content, pieces = "\n".join(texts).encode(), []
    while content:
        size = data.draw(st.integers(1, len(content)))
        pieces.append(content[:size])
        content = content[size:]
    assert read(pieces) == (texts or [""])


@pytest.mark.parametrize("size", [1, 7, 1000, 65_536])
def test_of_a_longer_line_no_more_is_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("palaver.workers.mcp.lines.MOST_BYTES", 5000)
    content = b"before\n" + b"x" * 20_000 + b"\nafter\n" + b"y" * 4999 + b"\n"
    before, long, *others = read([content[at : at + size] for at in range(0, len(content), size)])
    assert (before, others) == ("before", ["after", "y" * 4999, ""])
    assert len(long) <= 5000 or size > 5000, "one piece is there already"


async def test_a_process_that_writes_one_endless_line_takes_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("palaver.workers.mcp.lines.MOST_BYTES", most := 100_000)
    from mcp import types

    from palaver.workers.mcp.transport import Signals, transport_of

    server = ToolServer(name="flood", command="sh", args=["-c", SHELL])
    tracemalloc.start()
    try:
        async with transport_of(server, Signals()) as (incoming, _):
            broken = await incoming.receive()
            following = await incoming.receive()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(broken, ValueError)
    assert isinstance(following.message, types.JSONRPCResponse)
    assert peak < 20 * most < LONG
