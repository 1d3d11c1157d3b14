"""Structured output as a user meets it: a pydantic model in, an instance of it out, through a real worker."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from palaver.producer import AsyncClient, Client
from palaver.shared.errors import StructuredOutputError
from palaver.shared.settings import Settings
from tests.pages import program
from tests.processes import ROOT, Processes, Running

pytestmark = [pytest.mark.redis, pytest.mark.worker]

CONFIG = """
[providers.demo]
kind = "scripted"
[providers.demo.options.scripts.till]
text = '{"item": "tea", "price": 4.5}'
[models]
default = "demo/till"
"""


class Item(BaseModel):
    item: str
    price: float


@pytest.fixture
def config(palaver_env: dict[str, str]) -> None:
    Path(palaver_env["PALAVER_CONFIG"]).write_text(CONFIG)


@pytest.mark.usefixtures("config")
async def test_an_answer_becomes_an_instance(
    worker: Callable[..., Running], palaver_env: dict[str, str], processes: Processes
) -> None:
    worker()
    settings = Settings(redis_url=palaver_env["PALAVER_REDIS_URL"], config=palaver_env["PALAVER_CONFIG"])
    with Client(settings) as client:
        answer = client.submit("?", response_model=Item, wait=True, timeout=30)
        assert answer.parsed == Item(item="tea", price=4.5)
        handle = client.submit('{"item": "tea", "price": "much"}', model="demo/echo", response_model=Item)
        with pytest.raises(StructuredOutputError) as failed:
            handle.result(timeout=30)
        assert failed.value.problems == ["no JSON"]  # it echoes what is said of its first answer
        assert failed.value.response.content.startswith("That answer does not fit")
    async with AsyncClient(settings) as awaiting:
        followed = await awaiting.submit("?", response_model=Item)
        assert "".join([chunk.delta async for chunk in followed]) == '{"item": "tea", "price": 4.5}'
        assert (await followed.result(timeout=30)).parsed.price == 4.5
    shown = program(ROOT / "producer" / "README.md", "response_model")
    caller = processes.start((sys.executable, "-c", shown), name="caller", env=palaver_env)
    assert caller.wait() == 0, caller.output
    caller.drained()
    assert caller.lines[-1] == "4.5"
