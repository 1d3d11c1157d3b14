"""`ResponseCache` over a real worker: the workers' cache, seen from outside."""

import uuid

import pytest

from palaver.producer.interfaces import Clients, ResponseCache

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("interfaces")]


@pytest.fixture
def message() -> str:
    return f"Hello {uuid.uuid4().hex}"


def test_a_miss_is_not_remembered(clients: Clients, message: str) -> None:
    cache = ResponseCache(clients=clients)
    assert cache.get_cached_response(message, "Be brief.") is None
    assert cache.get_cached_response(message, "Be brief.") is None
    told = cache.get_response(message, "Be brief.")
    assert cache.get_cached_response(message, "Be brief.") == told
    assert told.content == message
    assert (told.model_name, told.token_count) == ("echo", 6)


async def test_what_is_equal_is_message_context_model_and_parameters(aclients: Clients, message: str) -> None:
    await ResponseCache(model="scripted/echo", clients=aclients).aget_response(message, "Be brief.")
    same = ResponseCache(clients=aclients)  # by the default, which is that model
    assert await same.aget_cached_response(message, "Be brief.") is not None
    others = [
        (same, message + " ", "Be brief."),
        (same, message, ""),
        (ResponseCache(model="slow/echo", clients=aclients), message, "Be brief."),
        (ResponseCache(temperature=0.1, clients=aclients), message, "Be brief."),
        (ResponseCache(tenant="t", clients=aclients), message, "Be brief."),
    ]
    for cache, asked, context in others:
        assert await cache.aget_cached_response(asked, context) is None


def test_answers_of_any_job_that_asked_for_the_cache(clients: Clients, message: str) -> None:
    cache = ResponseCache(clients=clients)
    clients.blocking.submit(message, wait=True)
    assert cache.get_cached_response(message, "") is None
    clients.blocking.submit(message, cache=True, wait=True)
    found = cache.get_cached_response(message, "")
    assert found is not None
    assert found.content == message
