"""A fixture of pytest: `pytest_plugins = ["palaver.workers.testing.fixtures"]` in a conftest.py."""

from collections.abc import Iterator

import pytest

from palaver.workers.testing.system import LocalSystem


@pytest.fixture
def palaver_system(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSystem]:
    """A system in this process, which the programs of the test find by the environment."""
    with LocalSystem() as system:
        for name, value in system.environment.items():
            monkeypatch.setenv(name, value)
        yield system
