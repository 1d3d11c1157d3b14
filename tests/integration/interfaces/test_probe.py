"""The door to a provider's health: a worker is asked, over the queue, and answers in the ledger."""

import pytest

from palaver.producer import AsyncClient, Client
from palaver.producer.interfaces import Clients
from palaver.shared.errors import (
    ConnectionError,
    ModelNotFoundError,
    ServiceUnavailableError,
    ValidationError,
)
from palaver.shared.settings import Settings

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("interfaces")]


def test_a_worker_says_that_its_provider_answers(clients: Clients) -> None:
    health = clients.blocking.probe("scripted")
    assert health.ok
    assert health.worker
    assert health.latency_ms >= 0
    assert clients.blocking.probe("scripted", "echo").ok


async def test_a_model_that_there_is_not_is_told(aclients: Clients) -> None:
    health = await aclients.awaited.probe("scripted", "nobody")
    assert not health.ok
    assert health.error is not None
    assert isinstance(health.error.exception(), ModelNotFoundError)


async def test_a_provider_that_is_not_there_is_told(aclients: Clients) -> None:
    health = await aclients.awaited.probe("nowhere")
    assert health.error is not None
    assert isinstance(health.error.exception(), ConnectionError)
    assert health.error.provider == "nowhere"


async def test_a_bug_of_the_provider_is_told(aclients: Clients) -> None:
    health = await aclients.awaited.probe("unwell")
    assert health.error is not None
    assert (health.error.type, health.error.provider) == ("InternalError", None)
    assert "KeyError" in health.error.message
    assert "somebody" not in health.error.message


async def test_an_unknown_profile_is_told(aclients: Clients) -> None:
    health = await aclients.awaited.probe("unheard-of")
    assert health.error is not None
    assert isinstance(health.error.exception(), ValidationError)


async def test_without_a_worker_the_probe_ends_in_time_and_its_message_goes_unanswered(
    redis_url: str, namespace: str
) -> None:
    async with AsyncClient(Settings(redis_url=redis_url, namespace=namespace)) as client:
        with pytest.raises(ServiceUnavailableError, match=r"no worker answered within 0\.1 seconds"):
            await client.probe("scripted", timeout=0.1)


def test_what_is_no_name_is_refused_before_anybody_is_asked(clients: Clients) -> None:
    client: Client = clients.blocking
    with pytest.raises(ValidationError, match="profile"):
        client.probe(5)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="timeout"):
        client.probe("scripted", timeout=-1)
