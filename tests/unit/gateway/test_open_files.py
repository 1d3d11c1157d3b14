"""How many files the gateway's process has open at most."""

import resource

import pytest

from palaver.producer.gateway.open_files import OTHERS, allowed, fit
from palaver.shared.errors import ConfigurationError


@pytest.mark.parametrize(
    ("hard", "files"), [(resource.RLIM_INFINITY, 100 + OTHERS), (10**6, 100 + OTHERS), (300, 300)]
)
def test_no_more_than_the_system_allows(hard: int, files: int) -> None:
    assert allowed(100, hard) == files


def test_without_room_for_connections_there_is_no_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (OTHERS, OTHERS))
    with pytest.raises(ConfigurationError, match="open files"):
        fit(100)


def test_the_system_is_asked_for_what_connections_take() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        assert fit(100) == 100
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 100 + OTHERS
        fit(10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 100 + OTHERS, "it gives nothing back"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
