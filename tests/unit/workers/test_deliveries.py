"""Consumers that a broker has lost without a word, on kombu's transport in memory."""

from collections.abc import Iterator
from queue import Empty
from typing import Any

import pytest
from kombu import Connection, Consumer, Producer, Queue

from palaver.workers.pool.deliveries import LOOK_SECONDS, Deliveries
from palaver.workers.pool.lanes import Lanes


class World:
    """A queue with a message, and a lane that consumes it, as far as the lane knows."""

    def __init__(self, connection: Any, name: str) -> None:
        self.got: list[object] = []
        self._connection = connection
        channel: Any = connection.channel()
        consumer: Any = Consumer(channel, [Queue(name)], callbacks=[lambda body, _: self.got.append(body)])
        consumer.consume()
        self.lanes = Lanes(consumer, [])
        channel.basic_cancel(consumer._active_tags[name])
        self.deliveries = Deliveries([name])
        Producer(channel).publish("hello", routing_key=name)

    def look(self, deliveries: Deliveries | None = None, **facts: Any) -> None:
        """While its message waits, and none has come."""
        waiting = [queue.name for queue in self.lanes.queues]
        (deliveries or self.deliveries).look(self.lanes, waiting, **{"taken": {}, **facts})

    def delivered(self) -> bool:
        """Whether the message comes."""
        try:
            self._connection.drain_events(timeout=0.01)
        except (Empty, OSError):
            return False
        return self.got == ["hello"]


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with Connection("memory://") as connection:
        yield World(connection, request.node.name)


def test_what_waits_for_two_looks_is_consumed_anew(world: World) -> None:
    world.look()
    assert not world.delivered(), "it may be on its way"
    world.look()
    assert world.delivered()
    assert len(world.lanes.queues) == 1


def test_what_waited_while_there_was_no_room_says_nothing(world: World) -> None:
    world.look()
    world.deliveries.forget()
    world.look()
    assert not world.delivered()


def test_a_queue_that_may_bring_no_more_is_left_alone(world: World) -> None:
    (queue,) = world.lanes.queues
    for _ in range(3):
        world.look(full=[queue.name])
    assert not world.delivered()


def test_a_queue_that_delivers_and_that_of_others_is_left_alone(world: World) -> None:
    (queue,) = world.lanes.queues
    for _ in range(3):
        world.look(taken={queue.name: LOOK_SECONDS / 2})
        world.look(Deliveries(["another"]))
        world.deliveries.look(world.lanes, (), taken={})
    assert not world.delivered()
