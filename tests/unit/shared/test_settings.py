"""Settings and profiles: read once, wrong values named by their variable, secrets in no repr and no dump."""

import os
from typing import Any

import orjson
import pytest

from palaver.shared import Catalog, ModelRef, Profile, Settings, redacted_url
from palaver.shared.errors import ConfigurationError, ValidationError
from palaver.shared.profiles import DEFAULT_MODEL
from palaver.shared.settings import unknown_variables


@pytest.fixture(autouse=True)
def _clean(monkeypatch: Any, tmp_path: Any) -> None:
    for variable in [name for name in os.environ if name.startswith("PALAVER_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    settings = Settings.load()
    assert settings.redis_url == settings.broker_url == "redis://127.0.0.1:6379/0"
    assert (settings.namespace, settings.log_maxlen, settings.retention) == ("palaver", 10_000, 86_400)
    assert (settings.lease_seconds, settings.renew_seconds, settings.drain_seconds) == (10, 3, 30)


def test_environment_and_explicit_values(monkeypatch: Any) -> None:
    monkeypatch.setenv("PALAVER_REDIS_URL", "redis://h:1/0")
    monkeypatch.setenv("PALAVER_LOG_MAXLEN", "5")
    monkeypatch.setenv("PALAVER_BROKER_URL", "")
    settings = Settings.load(retention=60)
    assert (settings.broker_url, settings.log_maxlen, settings.retention) == ("redis://h:1/0", 5, 60)
    assert Settings.load(redis_url="redis://x:2/0").broker_url == "redis://x:2/0"
    assert Settings.load(broker_url="amqp://q//").broker_url == "amqp://q//"


class TestDevFile:
    @pytest.fixture(autouse=True)
    def _dev(self, tmp_path: Any) -> None:
        (tmp_path / ".palaver").mkdir()
        self.file = tmp_path / ".palaver/dev.json"
        self.file.write_bytes(
            orjson.dumps(
                {"pid": 1, "redis_url": "redis://d:1/0", "broker_url": "redis://d:2/0", "flower_url": None}
            )
        )

    def test_it_is_read_when_no_url_is_set(self) -> None:
        assert Settings.load().redis_url == "redis://d:1/0"
        assert Settings.load().broker_url == "redis://d:2/0"

    def test_the_environment_wins(self, monkeypatch: Any) -> None:
        monkeypatch.setenv("PALAVER_REDIS_URL", "redis://h:1/0")
        assert Settings.load().redis_url == Settings.load().broker_url == "redis://h:1/0"

    def test_explicit_values_win(self) -> None:
        settings = Settings.load(redis_url="redis://x:1/0")
        assert settings.redis_url == settings.broker_url == "redis://x:1/0"

    def test_a_broken_one_is_named(self) -> None:
        self.file.write_text("{")
        with pytest.raises(ConfigurationError, match=r"dev\.json"):
            Settings.load()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REDIS_URL", "localhost"),
        ("REDIS_URL", "redis://h:1/0?foo=secret"),
        ("REDIS_URL", "redis://127.0.0.1:99999/0"),
        ("BROKER_URL", "localhost"),
        ("BROKER_URL", "redis://h:1/0?foo=secret"),
        ("BROKER_URL", "sentinel://h:1"),
        ("BROKER_URL", "kafka://secret@h"),
        ("BROKER_URL", "amqp://:secret@h:port//"),
        ("RETENTION", "-1"),
        ("RETENTION", "soon"),
        ("LOG_MAXLEN", "0"),
        ("CONCURRENCY", "1.5"),
        ("DEADLINE", "nan"),
        ("NAMESPACE", "a{b"),
        ("PROVIDERS", "{secret"),
    ],
)
def test_a_wrong_value_names_its_variable(monkeypatch: Any, variable: Any, value: Any) -> None:
    monkeypatch.setenv(f"PALAVER_{variable}", value)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert f"PALAVER_{variable}" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("CONCURRENCY", "0", "PALAVER_CONCURRENCY: must be at least 1, not 0"),
        ("RETENTION", "-1.5", "PALAVER_RETENTION: must be above 0, not -1.5"),
        ("RETENTION", "soon", "PALAVER_RETENTION: must be a valid number, not 'soon'"),
        ("RETENTION", "s" * 17, "PALAVER_RETENTION: must be a valid number, not a string of 17 characters"),
        ("SESSION_RETENTION", "1e18", "PALAVER_SESSION_RETENTION: must be at most 1000000000, not '1e18'"),
        ("LOG_MAXLEN", "9" * 12, f"PALAVER_LOG_MAXLEN: must be at most 1000000000, not {'9' * 12}"),
        (
            "NAMESPACE",
            "a b",
            "PALAVER_NAMESPACE: must be 1 to 64 letters, digits, dots, underscores or hyphens, not 'a b'",
        ),
        (
            "LEASE_SECONDS",
            "1",
            "PALAVER_LEASE_SECONDS must be at least twice PALAVER_RENEW_SECONDS; they are 1 and 3",
        ),
        ("REDIS_URL", "redis://127.0.0.1:99999/0", "PALAVER_REDIS_URL: has a port above 65535"),
    ],
)
def test_what_is_wrong_with_a_value(monkeypatch: Any, variable: str, value: str, told: str) -> None:
    monkeypatch.setenv(f"PALAVER_{variable}", value)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["PALAVER_CONCURRENCY", "palaver_namespace", "OTHER", "PALAVER_TEST_REQUIRE"], ""),
        (["PALAVER_OPENAI_KEY", "PALAVER_SERVICE_HOST", "PALAVER_REDIS_PORT_6379_TCP", "PALAVER_PORT"], ""),
        (["PALAVER_CONCURENCY"], "PALAVER_CONCURENCY (is it PALAVER_CONCURRENCY?)"),
        (
            ["PALAVER_WHATEVER", "PALAVER_REDIS"],
            "PALAVER_REDIS (is it PALAVER_REDIS_URL?), PALAVER_WHATEVER",
        ),
    ],
)
def test_misspelt_variables_are_told_with_what_they_may_be(names: list[str], told: str) -> None:
    found = unknown_variables(dict.fromkeys(names, "hunter2"))
    assert found == (f"ignored, no settings of Palaver: {told}" if told else "")


def test_no_secret_in_a_repr() -> None:
    settings = Settings(
        redis_url="rediss://user:hunter2@h:1/0",
        secret="hunter2" * 5,
        providers={"a": {"kind": "openai", "api_key": "hunter2"}},
        archive_url="postgresql://u:hunter2@h/d",
        tika_url="http://u:hunter2@h:9998",
    )
    assert "hunter2" not in repr(settings) + str(settings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
        ("redis://u:p@w@h:1/0", "redis://u:***@h:1/0"),
        ("amqp://u:pw@h//?password=x&heartbeat=5", "amqp://u:***@h//?password=***&heartbeat=5"),
        ("unix:///tmp/r.sock?password=x", "unix:///tmp/r.sock?password=***"),
        ("https://h/mcp?key=x&apikey=y&sig=z&v=1", "https://h/mcp?key=***&apikey=***&sig=***&v=1"),
        ("redis://:p/w@h:1/0", "redis://:***@h:1/0"),
        ("amqp://u:pw@a//;amqp://u:pw@b//", "amqp://u:***@a//;amqp://u:***@b//"),
        ("redis://:p?w#x@h:1/0", "redis://:***@h:1/0"),
        ("redis://[::1]:1/0", "redis://[::1]:1/0"),
        ("redis://h?password=p@w", "redis://h:***@w"),
        ("redis://u:hunter2", "redis://u:***"),
        ("redis://user@h:1/0", "redis://user@h:1/0"),
        ("hunter2", "(not a URL)"),
    ],
)
def test_redacted(url: Any, shown: Any) -> None:
    assert redacted_url(url) == shown


TOML = """
[providers.openai]
kind = "openai"
base_url = "https://api.openai.com/v1/"
api_key_env = "TEST_KEY"
limits = { requests_per_minute = 500, concurrent = 200 }
headers = { x-org = "hunter2" }
[providers.local]
kind = "ollama"
models = ["llama3"]
resume = "restart"
[models]
default = ["openai/gpt-4o-mini", "fast"]
fast = "local/llama3"
"""


@pytest.fixture
def catalog(tmp_path: Any) -> Any:
    (tmp_path / "palaver.toml").write_text(TOML)
    return Catalog.load(Settings.load())


WRONG = (
    "http://h/v1?key=hunter2",
    "http://h/v1#hunter2",
    "http://h:99999/v1",
    "http:///v1",
    "http://h/ v1",
    " http://h/v1",
)


class TestCatalog:
    def test_without_configuration_the_echo_answers(self) -> None:
        catalog = Catalog.load(Settings.load())
        assert [str(ref) for ref in catalog.resolve()] == [DEFAULT_MODEL]

    def test_a_profile(self, catalog: Any) -> None:
        profile = catalog.profile("openai")
        assert (profile.base_url, profile.limits.concurrent) == ("https://api.openai.com/v1", 200)
        assert catalog.profile("local").resume == "restart"

    def test_an_address_ends_without_a_slash_and_proxies_are_by_scheme(self) -> None:
        told = {
            "kind": "openai",
            "base_url": "http://u:p@[::1]:8/v1/?",
            "proxies": {"HTTP://": "proxy:3128", "all": ""},
        }
        profile = Catalog.of({"p": told}).profile("p")
        assert profile.base_url == "http://u:p@[::1]:8/v1"
        assert profile.proxies == told["proxies"]

    def test_resolving(self, catalog: Any) -> None:
        both = [ModelRef("openai", "gpt-4o-mini"), ModelRef("local", "llama3")]
        assert catalog.resolve() == catalog.resolve("default") == both
        assert catalog.resolve(["fast", "local/llama3", "openai/a/b"]) == [both[1], ModelRef("openai", "a/b")]

    @pytest.mark.parametrize(
        "name",
        [
            "meta-llama/llama-3.1-8b-instruct:free",
            "llama3:8b",
            "hf.co/org/Model-GGUF:Q4_K_M",
            "ft:gpt-4o:org::a1",
            "@cf/meta/llama",
            "/models/llama.gguf",
            "my deployment (prod)",
            "模型-7b",
        ],
    )
    def test_a_models_name_is_all_behind_the_first_slash(self, name: str) -> None:
        catalog = Catalog.of({"p": {"kind": "openai", "models": [name]}}, {"team/fast": f"p/{name}"})
        ref = ModelRef("p", name)
        assert catalog.resolve(f"p/{name}") == catalog.resolve("team/fast") == [ref]
        assert catalog.resolve(str(ref)) == [ref]
        with pytest.raises(ValidationError, match="has no model"):
            catalog.resolve(f"p/{name}x")

    @pytest.mark.parametrize(
        "model", ["nope/m", "nope", "local/other", "openai/", "openai", "", [], ["fast", "nope/m"]]
    )
    def test_an_unknown_model_is_refused(self, catalog: Any, model: Any) -> None:
        with pytest.raises(ValidationError) as caught:
            catalog.resolve(model)
        assert caught.value.param == "model"

    def test_no_default(self) -> None:
        with pytest.raises(ValidationError, match="default"):
            Catalog.of({"a": {"kind": "openai"}}).resolve()

    def test_the_environment_adds_and_wins(self, monkeypatch: Any, tmp_path: Any) -> None:
        (tmp_path / "palaver.toml").write_text(TOML)
        monkeypatch.setenv("PALAVER_PROVIDERS", '{"local": {"kind": "scripted"}, "new": {"kind": "openai"}}')
        monkeypatch.setenv("PALAVER_MODELS", '{"default": "new/m"}')
        catalog = Catalog.load(Settings.load())
        assert catalog.profile("local").kind == "scripted"
        assert catalog.resolve() == [ModelRef("new", "m")]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("[providers", "not valid TOML"),
            ("providers = 5", "providers"),
            ("[providers]\nx = 5", "providers.x"),
            ("[providers.x]\nbase_url = 'http://a'", "providers.x.kind"),
            ("[providers.x]\nkind = 'openai'\nbase_url = 'hunter2'", "providers.x.base_url"),
            *(
                (f"[providers.x]\nkind = 'openai'\nbase_url = '{url}'", "providers.x.base_url")
                for url in WRONG
            ),
            ("[providers.x]\nkind = 'openai'\nproxies = { htp = 'http://hunter2' }", "'htp' is none"),
            (
                "[providers.x]\nkind = 'openai'\nproxies = { all = 'socks5://hunter2' }",
                "the one for all is not",
            ),
            ("[provider.x]\nkind = 'openai'", "there is no table [provider]; is it [providers]?"),
            ("[model]\na = 'x/y'", "is it [models]?"),
            ("[x]", "there are: mcp, models, providers, pusher, tenants"),
            ("[providers.x]\nkind = 'openai'\nlimits = { concurrent = 0 }", "providers.x.limits.concurrent"),
            ("[providers.x]\nkind = 'openai'\ntypo = 1", "providers.x.typo"),
            ("[providers.x]\nkind = 'openai'\nresume = 'maybe'", "providers.x.resume"),
            ("[models]\na = []", "models.a"),
            ("[models]\na = 'b'\nb = 'a'", "leads back"),
            ("[models]\na = 'nope/m'", "models.a"),
        ],
    )
    def test_a_wrong_file_is_named_with_its_key(self, tmp_path: Any, text: Any, told: Any) -> None:
        (tmp_path / "palaver.toml").write_text(text)
        with pytest.raises(ConfigurationError) as caught:
            Catalog.load(Settings.load())
        assert "palaver.toml" in str(caught.value)
        assert told in str(caught.value)
        assert "hunter2" not in str(caught.value)

    def test_a_file_that_is_not_text(self, tmp_path: Any) -> None:
        (tmp_path / "palaver.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigurationError, match="UTF-8"):
            Catalog.load(Settings.load())

    def test_a_file_that_somebody_named_must_be_there(self, monkeypatch: Any) -> None:
        monkeypatch.setenv("PALAVER_CONFIG", "typo.toml")
        with pytest.raises(ConfigurationError, match=r"typo\.toml, which PALAVER_CONFIG names, is not there"):
            Catalog.load(Settings.load())

    def test_an_unreadable_file(self, tmp_path: Any) -> None:
        (tmp_path / "palaver.toml").mkdir()
        with pytest.raises(ConfigurationError, match="cannot be read"):
            Catalog.load(Settings.load())


class TestKeys:
    def test_the_key_comes_from_its_variable(self, monkeypatch: Any, tmp_path: Any) -> None:
        monkeypatch.setenv("TEST_KEY", "hunter2")
        (tmp_path / "palaver.toml").write_text(TOML)
        profile = Catalog.load(Settings.load()).profile("openai")
        assert profile.key() == "hunter2"
        shown = repr(profile) + str(profile) + str(profile.model_dump()) + profile.to_json().decode()
        assert "hunter2" not in shown + str(profile.announcement())

    def test_a_missing_variable_is_an_error_only_where_the_key_is_used(self, catalog: Any) -> None:
        with pytest.raises(ConfigurationError, match="TEST_KEY"):
            catalog.profile("openai").key()
        assert catalog.profile("local").key() is None

    @pytest.mark.parametrize("key", [5, "", ["hunter2"]])
    def test_a_wrong_key_is_not_shown(self, key: Any) -> None:
        with pytest.raises(ValidationError, match="api_key") as caught:
            Profile(name="a", kind="openai", api_key=key)
        assert "hunter2" not in str(caught.value)
