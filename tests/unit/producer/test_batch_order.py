"""Results in the order of their lines, however they come, and whichever never do."""

from hypothesis import given
from hypothesis import strategies as st

from palaver.producer.batches.following import InOrder
from palaver.shared.batches import BatchResult
from palaver.shared.responses import ChatResponse


def result(index: int) -> BatchResult:
    return BatchResult(index=index, custom_id=f"c{index}", response=ChatResponse(content=f"{index}\n"))


@given(st.sets(st.integers(0, 40)).flatmap(lambda indexes: st.permutations(sorted(indexes))))
def test_what_came_is_given_in_order(indexes: list[int]) -> None:
    with InOrder() as sorting:
        given_at_once = [ready for index in indexes for ready in sorting.take(result(index))]
        rest = list(sorting.rest())
    assert [*given_at_once, *rest] == [result(index) for index in sorted(indexes)]
    whole = next((n for n in range(len(indexes) + 1) if n not in indexes), 0)
    assert [each.index for each in given_at_once] == list(range(whole)), "none waits that need not"
