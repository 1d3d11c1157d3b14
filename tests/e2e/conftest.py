"""What holds for all of these tests."""

import pytest

from tests.servers import IN_TIME


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks Redis in this process takes a machine that does much else for no outage."""
    monkeypatch.setenv("PALAVER_CONNECT_SECONDS", str(IN_TIME))
