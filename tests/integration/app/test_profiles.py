"""What a worker says of its profiles when it starts, and serves."""

import json
from collections.abc import Callable

import pytest

from palaver.producer import Client, cli
from palaver.shared.errors import ValidationError
from palaver.shared.ledger import SyncLedger
from palaver.shared.settings import Settings
from palaver.workers.command import main
from tests.processes import Running
from tests.servers import eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker]

NO_KEY = {"kind": "openai", "api_key_env": "PALAVER_TEST_NO_SUCH_KEY"}
NOWHERE = "redis://127.0.0.1:1/0"
MISSPELT = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "options": {"flavour": "vlm"}}


def wait_until_served(settings: Settings, profile: str) -> None:
    with SyncLedger(settings) as ledger:
        assert eventually(lambda: profile in {each.name for each in ledger.announced_profiles()})


def providers(**tables: object) -> dict[str, str]:
    return {"PALAVER_PROVIDERS": json.dumps(tables)}


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        ({"kind": "nope"}, "there is no kind 'nope'"),
        ({"kind": "no.such:Thing"}, "no.such:Thing cannot be imported"),
        ({"kind": "os.path:join"}, "os.path:join is a subclass of neither"),
        (NO_KEY, "PALAVER_TEST_NO_SUCH_KEY is not set"),
    ],
    ids=["unknown", "not there", "no class", "no key, and nothing else"],
)
def test_a_profile_that_can_never_answer_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    profile: dict[str, str],
    told: str,
) -> None:
    """Before any service is asked: here there are none."""
    for name, value in {"PALAVER_REDIS_URL": NOWHERE, **providers(wrong=profile)}.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"provider wrong: {told}" in line or f"provider wrong: the environment variable {told}" in line


def test_a_profile_that_cannot_answer_leaves_the_others_served(
    worker: Callable[..., Running],
    palaver_env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tables = providers(good={"kind": "scripted"}, keyless=NO_KEY, misspelt=MISSPELT)
    running = worker(
        env={**tables, "PALAVER_MODELS": json.dumps({"all": ["keyless/x"], "some": "good/echo"})}
    )
    running.wait_for(r"profile\.unserved profile=keyless reason=.*PALAVER_TEST_NO_SUCH_KEY is not set")
    running.wait_for(r"profile\.unserved profile=misspelt reason=.*options.flavour 'vlm' is not known")
    settings = Settings(redis_url=palaver_env["PALAVER_REDIS_URL"])
    wait_until_served(settings, "good")
    with Client(settings) as client:
        assert client.submit("hello", model="some").result(timeout=30).content == "hello"
        for model in ("keyless/x", "misspelt/x", "all"):
            with pytest.raises(ValidationError, match="model"):
                client.submit("hello", model=model)
    for name, value in palaver_env.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["status"]) == 0
    told = capsys.readouterr().out.split(" does not serve provider ")
    assert [each.partition(":")[0] for each in told[1:]] == ["keyless", "misspelt"]
    assert "PALAVER_TEST_NO_SUCH_KEY is not set\n" in told[1]
    assert told[2].endswith("\n")


def test_a_script_that_is_not_there_is_refused_before_anything_is_stored(
    worker: Callable[..., Running], palaver_env: dict[str, str]
) -> None:
    worker(env=providers(scripted={"kind": "scripted", "options": {"scripts": {"mine": {"text": "yes"}}}}))
    settings = Settings(redis_url=palaver_env["PALAVER_REDIS_URL"])
    wait_until_served(settings, "scripted")
    with Client(settings) as client:
        assert client.submit("hello", model="scripted/mine").result(timeout=30).content == "yes"
        with pytest.raises(ValidationError, match=r"scripted has no model 'nope'; it has: .*mine"):
            client.submit("hello", model="scripted/nope")
