"""What a worker tells Prometheus, after real jobs: its page is read as Prometheus reads it."""

import asyncio
import urllib.error
import urllib.request
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest
import redis.asyncio
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families as parsed

from palaver.shared.jobs import Status
from palaver.shared.metrics import WORKER
from palaver.shared.profiles import Breaker
from palaver.workers.policies.asking import KEPT
from tests.integration.workers.conftest import PROVIDERS, Engine, MakeEngine

pytestmark = pytest.mark.redis

BROKEN = {"fail": {"kind": "status", "status": 401}, "text": ""}
GATED = {
    "kind": "scripted",
    "options": {"rate": 0},
    "limits": {"concurrent": 5, "tokens_per_minute": 100_000},
}


async def fetched(engine: Engine, path: str) -> tuple[int, str]:
    def fetch() -> tuple[int, str]:
        address = engine.service._presence.told()["metrics"]
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(fetch)


async def families(engine: Engine) -> dict[str, Metric]:
    status, text = await fetched(engine, "/metrics")
    assert status == 200
    return {family.name: family for family in parsed(text)}


async def values(engine: Engine) -> dict[str, float]:
    """`name{label=value …}` to value, of all but histograms' buckets and empty labels."""

    def key(name: str, labels: dict[str, str]) -> str:
        return f"{name}{{{' '.join(f'{label}={value}' for label, value in sorted(labels.items()) if value)}}}"

    return {
        key(sample.name, sample.labels): sample.value
        for family in (await families(engine)).values()
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


@pytest.fixture
async def told(make_engine: MakeEngine) -> Engine:
    """An engine that tells."""
    return await make_engine(
        metrics_address="127.0.0.1:0",
        profiles={**PROVIDERS, "gated-too": GATED},
        lease_seconds=60,
        renew_seconds=20,
    )


async def test_the_page_has_the_metrics_of_the_table_and_no_others(told: Engine) -> None:
    await told.answer("hello")
    await told.answer(BROKEN, session_id="s2")
    await told.answer("hello", session_id="s3", model="gated-too/echo")
    found = {name: family for name, family in (await families(told)).items() if name.startswith("palaver_")}
    table = {metric.name.removesuffix("_total"): metric for metric in WORKER}
    assert set(found) == set(table)
    for name, family in found.items():
        assert family.type == table[name].kind
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(table[name].labels), name


async def test_jobs_requests_tokens_and_errors_are_counted(told: Engine) -> None:
    job = await told.submit("one two three")
    await told.service.run("s1", job.job_id, queue="palaver.high")
    await told.answer("one two three")
    await told.answer(BROKEN, session_id="s2")
    await told.answer("one two three", session_id="s3", model="gated-too/echo")
    found = await values(told)

    assert found["palaver_attempts_total{queue=high}"] == 1
    assert found["palaver_attempts_total{queue=other}"] == 3
    assert found["palaver_jobs_total{outcome=completed}"] == 3
    assert found["palaver_jobs_total{code=authentication outcome=failed}"] == 1
    assert found["palaver_requests_total{model=echo profile=scripted}"] == 3
    assert found["palaver_provider_errors_total{code=authentication profile=scripted}"] == 1
    assert found["palaver_time_to_first_token_seconds_count{profile=scripted}"] == 2
    assert found["palaver_request_seconds_count{profile=scripted}"] == 3
    assert found["palaver_tokens_total{model=echo profile=gated-too type=output}"] > 0
    assert found["palaver_tokens_total{model=echo profile=scripted type=input}"] > 0
    assert found["palaver_gate_wait_seconds_count{profile=gated-too}"] == 1
    assert found["palaver_breaker_state{profile=scripted state=closed}"] == 1
    assert found["palaver_breaker_state{profile=scripted state=open}"] == 0
    assert found["palaver_publish_appends_total{}"] > 0
    assert found["palaver_live_streams{}"] == 0
    assert found[f"palaver_worker_info{{version={version('palaver')} worker=test-0}}"] == 1


async def test_a_retry_is_an_error_more_and_a_job_that_goes_on(told: Engine) -> None:
    flaky = {"fail": {"kind": "status", "status": 503, "times": 1}, "text": "hello"}
    job = await told.submit(flaky)
    await told.run(job)
    found = await values(told)
    assert found["palaver_provider_errors_total{code=server_error profile=scripted}"] == 1
    assert found["palaver_retries_total{profile=scripted}"] == 1
    assert found["palaver_jobs_total{outcome=completed}"] == 1


async def test_what_a_provider_refuses_for_what_was_asked_is_no_error_of_the_provider(told: Engine) -> None:
    await told.answer({"fail": {"kind": "status", "status": 400}, "text": ""})
    found = await values(told)
    assert found["palaver_refused_requests_total{code=invalid_request profile=scripted}"] == 1
    assert found["palaver_jobs_total{code=invalid_request outcome=refused}"] == 1
    assert not [name for name in found if name.startswith("palaver_provider_errors_total{")]


async def test_the_end_of_a_job_is_no_lost_lease(make_engine: MakeEngine) -> None:
    told = await make_engine(metrics_address="127.0.0.1:0", lease_seconds=60, renew_seconds=0.001)
    jobs = [await told.submit("hello", session_id=f"s{n}") for n in range(100)]
    outcomes = await asyncio.gather(*(told.run(job) for job in jobs))
    assert {outcome.status for outcome in outcomes} == {Status.COMPLETED}
    found = await values(told)
    assert found["palaver_lease_renewals_total{result=renewed}"] > 0
    assert "palaver_lease_renewals_total{result=lost}" not in found


async def test_live_streams_are_shown_by_their_profile(told: Engine) -> None:
    job = await told.submit({"endless": True}, model="slow/echo")
    running = asyncio.create_task(told.run(job))
    await told.said(job)
    found = await values(told)
    assert found["palaver_live_streams{profile=slow}"] == 1
    assert found["palaver_leases{}"] == 1
    told.service.end(job.job_id)
    await running
    assert "palaver_live_streams{profile=slow}" not in await values(told)


async def test_the_canary_measures_the_way_to_a_reader(told: Engine) -> None:
    heard = asyncio.Event()
    pulse = told.service._vitals.pulse
    async with redis.asyncio.from_url(told.service.settings.redis_url) as raw:
        for word in ("no time", "nan", "inf"):  # which are let be
            while not await raw.publish(pulse._channel, word):  # noqa: ASYNC110 - nobody tells who listens
                await asyncio.sleep(0.01)
    count = pulse._published

    def published(seconds: float) -> None:
        count(seconds)
        heard.set()

    pulse._published = published
    async with asyncio.timeout(20):
        await heard.wait()
    found = await values(told)
    assert 0 < found["palaver_publish_lag_seconds_sum{}"] < 20


async def test_breakers_of_sealed_profiles_are_one_series(told: Engine) -> None:
    await told.answer("hello")
    breakers = told.service._bounding.breakers
    for n in range(KEPT + 50):
        provider: Any = SimpleNamespace(profile=SimpleNamespace(name=f"sealed-{n}", breaker=Breaker()))
        breakers._admission(provider)
    assert len(breakers.states) == KEPT + 1
    shown = [name for name in await values(told) if name.startswith("palaver_breaker_state")]
    assert {name.partition("profile=")[2].partition(" ")[0] for name in shown} == {"scripted", "sealed"}
    assert len(shown) == 6


async def test_the_loop_that_hangs_is_told(told: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await fetched(told, "/healthz") == (200, "ok\n")
    pulse = told.service._vitals.pulse
    monkeypatch.setattr(pulse, "_clock", lambda: pulse._last + 12.0)
    status, text = await fetched(told, "/healthz")
    assert (status, text) == (503, "loop: the stream loop has not turned for 12 seconds\n")
    assert (await fetched(told, "/readyz"))[0] == 503
    assert (await values(told))["palaver_not_ready{reason=loop}"] == 1


async def test_a_link_that_hangs_is_told_and_a_path_that_died_once_is_not(told: Engine) -> None:
    link = told.service._link
    link.stalls = 2
    assert await fetched(told, "/healthz") == (200, "ok\n")
    link.stalls = 3
    status, text = await fetched(told, "/healthz")
    assert (status, text.partition(" ")[0]) == (503, "link:")
    assert (await fetched(told, "/readyz"))[0] == 503
    assert (await values(told))["palaver_not_ready{reason=link}"] == 1


async def test_nothing_that_was_said_is_told(told: Engine) -> None:
    secret: Any = "xyzzy-42"
    await told.answer(f"hello {secret}", session_id=secret, user=secret)
    _, text = await fetched(told, "/metrics")
    assert secret not in text
