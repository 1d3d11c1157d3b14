"""The smaller parts: names, plain values, memory, the abstract client, sessions, and the door."""

import re
import subprocess
import sys
from typing import Any

import pytest

import palaver.shared
from palaver.shared import (
    ChatClient,
    ChatJob,
    ChatResponse,
    MemoryModel,
    Message,
    Queue,
    SendMessageWrap,
    SessionInfo,
    ids,
    names,
)
from palaver.shared.errors import ValidationError
from palaver.shared.plain import measure, plain, shape


class TestNames:
    @pytest.mark.parametrize(
        ("priority", "queue"),
        [
            (9, Queue.HIGH),
            (7, Queue.HIGH),
            (6, Queue.NORMAL),
            (4, Queue.NORMAL),
            (3, Queue.LOW),
            (0, Queue.LOW),
        ],
    )
    def test_queues(self, priority: Any, queue: Any) -> None:
        assert names.queue_for(priority) is queue
        assert names.queue_for() is Queue.NORMAL

    def test_every_queue_is_consumed_resume_first(self) -> None:
        assert sorted(names.QUEUES) == sorted(Queue)
        assert names.QUEUES[0].value == "palaver.resume"

    def test_the_names_on_the_broker_carry_the_namespace(self) -> None:
        assert [names.queue_name(queue) for queue in names.QUEUES] == list(names.QUEUES)
        assert names.queue_name(names.Queue.SUBMIT, "a.b") == "a.b.submit"

    def test_job_ids_are_uuid7_in_order(self) -> None:
        made = [ids.new_job_id() for _ in range(1000)]
        assert len(set(made)) == 1000
        assert made == sorted(made)
        assert all(
            re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", id)
            for id in made
        )

    def test_session_ids(self) -> None:
        for session in ("a", "A.b_c:d-e", "x" * 128, ids.new_session_id(), ids.session_for("t", "k")):
            assert ids.valid_session_id(session)
            assert ids.check_session_id(session) == session

    @pytest.mark.parametrize(
        "session", ["", " ", "a b", "a\n", "\x00", "a/b", "{a}", "ü", "x" * 129, None, 5, b"a"]
    )
    def test_no_session_ids(self, session: Any) -> None:
        assert not ids.valid_session_id(session)
        with pytest.raises(
            ValidationError, match=r"^session_id: must be 1 to 128 letters, .* colons"
        ) as told:
            ids.check_session_id(session)
        assert told.value.param == "session_id"

    @pytest.mark.parametrize("job", ["", "a b", "a\n", "a:text", "{a}", "ü", "x" * 129, None, 5, b"a"])
    def test_no_job_ids(self, job: Any) -> None:
        assert not ids.valid_job_id(job)
        with pytest.raises(ValidationError, match=r"^job_id: must be 1 to 128 letters, ") as told:
            ids.check_job_id(job)
        assert told.value.param == "job_id"
        with pytest.raises(ValidationError) as same:
            ChatJob(messages="Hi", job_id=job)
        assert str(same.value) == str(told.value)


class TestPlain:
    def test_a_copy(self) -> None:
        given: Any = {"a": [1, (2, 3)], "b": None}
        copy = plain(given)
        given["a"].append(9)
        assert copy == {"a": [1, [2, 3]], "b": None}

    @pytest.mark.parametrize(
        ("value", "place"),
        [
            ({"a": [1, {2}]}, "a[1]: "),
            ({"a": {"b": float("inf")}}, "a.b: "),
            ({"a": b"x"}, "a: "),
            ({"a": {5: 1}}, "a: "),
            ([2**64], "[0]: "),
            ([-(2**63) - 1], "[0]: "),
            (["\udc00"], "[0]: "),
        ],
    )
    def test_refused_with_its_place(self, value: Any, place: Any) -> None:
        with pytest.raises(ValueError, match=re.escape(place)):
            plain(value)

    def test_shapes_tell_no_content(self) -> None:
        assert [
            shape(value) for value in (None, True, 5, "secret", "", [1], {"a": 1}, b"ab", {1}, 10**400)
        ] == [
            "null",
            "true",
            "5",
            "a string of 6 characters",
            "an empty string",
            "a list of 1",
            "an object with 1 keys",
            "2 bytes",
            "a set",
            "a huge number",
        ]

    def test_measuring_stops_at_the_limit(self) -> None:
        circle: list[object] = []
        circle.append(circle)
        assert measure(circle, 1000) > 1000
        assert measure({"a": "x" * 100}, 1000) < 120


class TestMemory:
    def test_document_000s_memory(self) -> None:
        memory = MemoryModel()
        assert (memory.messages, memory.abstract) == ([], "")
        memory.messages.append(Message(role="user", content="hi"))
        assert MemoryModel.model_validate_json(memory.to_json()) == memory
        assert memory.time > 0

    def test_the_train_of_the_example(self) -> None:
        train = Message(content="You are a helpful assistant.", role="system")
        wrap = SendMessageWrap(train.model_dump(), MemoryModel(), "Hello!")
        assert [message.content for message in wrap] == ["You are a helpful assistant.", "Hello!"]

    def test_order(self) -> None:
        memory = [
            {"role": "system", "content": "old system"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
        ]
        wrap = SendMessageWrap({"role": "system", "content": "s"}, memory, "q")
        wrap.append({"role": "assistant", "content": "end"})
        wrap.extend(["more"])
        assert [message.text for message in wrap] == ["s", "a", "b", "q", "end", "more"]
        assert len(wrap) == 6
        assert [message.text for message in wrap.unwrap(exclude_system=True)] == [
            "a",
            "b",
            "q",
            "end",
            "more",
        ]

    def test_the_query_may_be_the_last_of_the_memory(self) -> None:
        memory = MemoryModel(messages=["a", {"role": "assistant", "content": "b"}, "q"])
        wrap = SendMessageWrap({"role": "system", "content": "s"}, memory)
        assert (wrap.user_query.text, len(wrap.memory), len(memory.messages)) == ("q", 2, 3)

    @pytest.mark.parametrize("memory", [[], [{"role": "assistant", "content": "b"}]])
    def test_a_memory_without_a_query_at_its_end(self, memory: Any) -> None:
        with pytest.raises(ValidationError) as caught:
            SendMessageWrap({"role": "system", "content": "s"}, memory)
        assert caught.value.param == "memory"

    def test_a_copy_is_independent(self) -> None:
        wrap = SendMessageWrap({"role": "system", "content": "s"}, [], "q")
        copy = wrap.copy()
        copy.append("x")
        assert (len(wrap), len(copy)) == (2, 3)

    def test_from_a_list(self) -> None:
        wrap = SendMessageWrap.validate_messages([{"role": "system", "content": "s"}, "q"])
        assert (wrap.train.text, wrap.user_query.text) == ("s", "q")
        with pytest.raises(ValidationError):
            SendMessageWrap.validate_messages(["q"])


class TestChatClient:
    async def test_a_subclass(self) -> None:
        class Parrot(ChatClient):
            async def chat(self, prompt: Any, system_prompt: Any = None, **kwargs: Any) -> Any:
                return ChatResponse(content=prompt)

            async def stream_chat(self, prompt: Any, system_prompt: Any = None, **kwargs: Any) -> Any:
                yield prompt

            async def analyze_text(self, text: Any, analysis_type: Any = "general", **kwargs: Any) -> Any:
                return ChatResponse(content=text, metadata={"analysis_type": analysis_type})

            async def batch_process(self, prompts: Any, **kwargs: Any) -> Any:
                return [await self.chat(prompt) for prompt in prompts]

            async def health_check(self) -> Any:
                return ChatResponse()

        client = Parrot()
        assert (await client.generate_text("hi")).content == "hi"
        assert [piece async for piece in client.stream_chat("hi")] == ["hi"]

    def test_a_missing_method_is_a_type_error(self) -> None:
        with pytest.raises(TypeError, match="health_check"):
            type(
                "Half",
                (ChatClient,),
                {"chat": None, "stream_chat": None, "analyze_text": None, "batch_process": None},
            )()


class TestDocuments:
    def test_they_do_not_change(self) -> None:
        message: Any = Message(role="user", content="hi")
        with pytest.raises(ValidationError, match="immutable") as caught:
            message.content = "ho"
        assert caught.value.param == "content"

    def test_but_memory_does_and_stays_valid(self) -> None:
        memory: Any = MemoryModel()
        memory.messages = ["hi"]
        assert memory.messages[0].role == "user"
        with pytest.raises(ValidationError) as caught:
            memory.messages = [{"role": "wizard", "content": "secret"}]
        assert caught.value.param == "messages[0].role"
        assert "secret" not in str(caught.value)


def test_a_session() -> None:
    info = SessionInfo(session_id="s", seq=3, waiting=["j"])
    assert SessionInfo.model_validate_json(info.to_json()) == info
    with pytest.raises(ValidationError, match="status"):
        SessionInfo(session_id="s", status="asleep")


class TestDoor:
    def test_all_names_are_there_and_sorted(self) -> None:
        exported = palaver.shared.__all__
        assert all(
            getattr(palaver.shared, name).__name__
            for name in exported
            if name not in ("AnyEvent", "Event", "MessagesLike")
        )
        assert exported == sorted(exported, key=lambda name: (name[0].islower(), name))
        assert set(exported) <= set(dir(palaver.shared))

    def test_there_is_nothing_else(self) -> None:
        with pytest.raises(AttributeError, match="Nonsense"):
            palaver.shared.Nonsense  # noqa: B018 -- the look-up is what is tested

    def test_the_door_alone_costs_nothing(self) -> None:
        code = "import sys, palaver.shared; sys.exit('pydantic' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
