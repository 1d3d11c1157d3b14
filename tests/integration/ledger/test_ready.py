"""Whose turn it is where a queue is long: the jobs that wait for a worker, by tenant and user."""

from typing import Any

import pytest

from palaver.shared.errors import SessionBusyError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Submitted
from palaver.shared.ledger.admission import UNBOUNDED, Bounds
from palaver.shared.names import Queue
from palaver.shared.tenants import Tenants
from tests.integration.ledger.floor import Floor
from tests.integration.ledger.world import World


@pytest.fixture
def floor(world: World) -> Floor:
    return Floor(world)


def names(letter: str, number: int) -> list[str]:
    return [f"{letter}{n}" for n in range(number)]


def test_ten_jobs_do_not_wait_for_a_thousand(floor: Floor) -> None:
    many = names("a", 20)
    floor.submit(*many)
    assert floor.in_turn(*many[:6]) == many[:6]
    floor.submit(*names("b", 5))
    begun = floor.in_turn(*many[6:], *names("b", 5))
    assert [name for name in begun if name[0] == "b"] == names("b", 5)
    assert [name for name in begun if name[0] == "a"] == many[6:]
    assert begun.index("b4") < 12
    assert floor.waiting() == 0


def test_tenants_have_turns_by_their_weights(floor: Floor) -> None:
    floor.weights = {"a": 1, "b": 3, "c": 1}
    floor.submit("b99", "c99", *names("a", 5), *names("b", 15), *names("c", 6))
    floor.in_turn("b99", "c99")
    begun = floor.in_turn(*names("a", 5))
    counts = [sum(name[0] == letter for name in begun) for letter in "abc"]
    assert counts[0] == 5
    assert abs(counts[1] - 12) <= 3
    assert abs(counts[2] - 4) <= 1


def test_users_of_a_tenant_have_turns(floor: Floor) -> None:
    floor.submit(*names("ax", 9), *names("ay", 3), *names("b", 3))
    begun = floor.in_turn(*names("ax", 8))
    assert [name for name in begun if name[:2] == "ay"] == names("ay", 3)
    assert begun.index("ay2") < 10
    # Its users share the turns of the tenant.
    assert begun.index("b2") < 10


def test_who_names_nobody_goes_before_nobody_and_makes_room(floor: Floor) -> None:
    floor.submit(*names("-", 5), "b0")
    assert floor.ahead("-0") is None
    assert floor.begin("-0") == [], "nobody had two turns before the other had one"
    assert floor.begin("-1") == ["b0"]
    floor.submit("a0")
    assert floor.begin("b0") == []
    assert [floor.begin(name) for name in names("-", 5)[2:]] == [["a0"], [], []]


def test_nobody_is_sent_where_nobody_waits_in_the_queue(floor: Floor) -> None:
    floor.submit("a0", "a1", "b0")
    assert floor.begin("a0", waiting=False) == []
    assert floor.waiting() == 2
    assert floor.begin("b0", "a1", waiting=False) == []
    assert floor.waiting() == 0


def test_a_tenant_that_comes_again_and_again_has_no_more_than_its_turns(floor: Floor) -> None:
    floor.submit(*names("a", 8), *names("c", 8))
    begun: list[str] = []
    for number in range(8):
        floor.submit(f"b{number}")
        begun += floor.in_turn(f"a{number}")
    assert sum(name[0] == "b" for name in begun) <= 8
    assert sum(name[0] == "c" for name in begun) >= 7


def test_a_more_urgent_queue_waits_for_no_other(floor: Floor) -> None:
    floor.submit("a0", "a1", priority=9)
    floor.submit("b0", priority=0)
    floor.submit("c0", priority=9)
    floor.begin("a0")
    assert floor.begin("a1") == ["c0"]


def test_messages_that_come_in_turn_are_sent_once(floor: Floor) -> None:
    mixed = [f"{letter}{number}" for number in range(4) for letter in "abc"]
    floor.submit(*mixed)
    assert [floor.begin(name) for name in mixed] == [[]] * 12


def test_a_repeated_call_says_the_same_and_changes_nothing(floor: Floor) -> None:
    floor.submit(*names("a", 4), *names("b", 4))
    floor.begin("a0")
    assert floor.begin("a1", token="once") == floor.begin("a1", token="once") == ["b0"]
    assert floor.begin("a2") == ["b1"]
    floor.world.ledger.submit(floor.jobs["a3"][0])
    assert floor.waiting() == 3


def test_a_run_that_is_not_the_first_is_nobodys_turn(floor: Floor) -> None:
    floor.submit("a0", "b0")
    assert floor.begin("a0", first=False) == []
    assert floor.waiting() == 1
    assert floor.ahead("b0") == 0


def test_who_ends_or_is_refused_waits_no_more(floor: Floor) -> None:
    floor.submit("a0", "a1", "a2", "b0")
    assert floor.ahead("a2") == 2 or floor.ahead("a2") == 3
    _, stored = floor.jobs["a1"]
    for _ in range(2):
        floor.world.ledger.cancel(stored.session_id, stored.job_id)
    assert floor.ahead("a1") is None
    with pytest.raises(SessionBusyError):
        floor.submit("a2", on_busy="reject")
    assert floor.waiting() == 3
    floor.submit("c0")
    world, late = floor.world, floor.jobs["c0"][1]
    world.raw.hset(world.keys.job(late.session_id, late.job_id), "deadline", 1)
    world.raw.zadd(world.keys.due, {f"{late.session_id}/{late.job_id}": 1})
    assert world.sweep().ended == 1
    assert floor.waiting() == 3
    floor.submit("b1")
    floor.begin("b0")
    assert floor.begin("b1") == ["a0"]


def test_a_job_that_waits_for_its_session_waits_for_no_worker(floor: Floor) -> None:
    floor.submit("a0", "b0", "b1")
    job = ChatJob(messages="hi", session_id="s-a0", tenant="a")
    assert floor.world.ledger.submit(job).position == 1
    assert floor.waiting() == 3
    floor.begin("b0")
    assert floor.begin("b1") == ["a0"]


def test_a_job_for_later_waits_for_its_message_alone(floor: Floor) -> None:
    floor.submit("a0", run_at=floor.world.time() + 60)
    assert floor.ahead("a0") is None
    assert floor.waiting() == 0


def test_a_view_says_who_is_ahead_and_about_how_long_it_takes(floor: Floor) -> None:
    floor.submit(*names("a", 9), "b0")
    prospects = [floor.world.ledger.job(floor.jobs[name][1].job_id).prospect for name in ("a8", "b0")]
    assert [prospect and (prospect.position, prospect.seconds) for prospect in prospects] == [
        (8, None),
        (1, None),
    ]
    floor.begin("a0", "a1", waiting=False)
    prospect = floor.world.ledger.job(floor.jobs["a8"][1].job_id).prospect
    assert prospect is not None
    assert prospect.position == 6
    assert prospect.seconds is not None
    assert prospect.seconds > 0


def test_a_view_of_a_job_that_names_nobody_counts_the_messages_before_it(floor: Floor) -> None:
    floor.submit("-0", "-1")
    first, second = (floor.jobs[name][1] for name in ("-0", "-1"))
    world = floor.world
    view = world.ledger.job(second.job_id)
    assert view.prospect is not None
    assert (view.queue, view.prospect.position) == ("palaver.normal", 0)
    assert view.sent is not None
    member = f"{first.session_id}/{first.job_id}"
    waiting = world.keys.sent("palaver.normal")
    world.raw.zadd(waiting, {member: view.sent * 1000 - 1})
    world.raw.expire(waiting, 60)
    again = world.ledger.job(second.job_id).prospect
    assert again is not None
    assert again.position == 1


def test_a_line_that_is_no_more_is_passed_over(floor: Floor) -> None:
    floor.submit("a0", "a1", "b0", "c0")
    for key in floor.world.raw.scan_iter(f"{floor.keys.ready}:line:*:b"):
        floor.world.raw.delete(key)
    floor.begin("a0")
    assert floor.begin("a1") == ["c0"]


def test_a_priority_that_a_tenant_may_not_have_passes_nobody(floor: Floor) -> None:
    floor.world.ledger.bounds = Bounds(None, Tenants({"a": {"priority_most": 6}}))
    floor.submit("a1", "b1", priority=9)
    floor.submit("a2", priority=2)
    queues = {name: stored.dispatch.queue for name, (_, stored) in floor.jobs.items() if stored.dispatch}
    assert queues == {"a1": Queue.NORMAL, "b1": Queue.HIGH, "a2": Queue.LOW}
    assert floor.waiting() == 1
    several = [ChatJob(messages="hi", tenant="a", priority=9), ChatJob(messages="hi", priority=9)]
    stored = [each for each in floor.world.ledger.submit_many(several) if isinstance(each, Submitted)]
    assert [each.dispatch and each.dispatch.queue for each in stored] == [Queue.NORMAL, Queue.HIGH]
    # Asked again with the same document it is the same job, whatever the bound is now.
    job, first = floor.jobs["a1"]
    floor.world.ledger.bounds = UNBOUNDED
    assert floor.world.ledger.submit(job).job_id == first.job_id


def test_tenants_for_whom_nobody_waits_leave_no_weight(floor: Floor) -> None:
    all_of_them = [name for letter in "abcdef" for name in names(letter, 2)]
    floor.weights = dict.fromkeys("abcdef", 3)
    floor.submit(*all_of_them)
    floor.in_turn(*all_of_them)
    assert floor.waiting() == 0
    fields: Any = floor.world.raw.hkeys(floor.keys.ready)
    assert not [field for field in fields if field.startswith(b"weight:")]
