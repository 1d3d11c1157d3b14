"""Which server `palaver dev` would start."""

from pathlib import Path

import pytest

from palaver.producer.cli.embedded import choose_server


def program(folder: Path, name: str, version: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)
    return path


def test_a_server_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program(tmp_path / "bin", "redis-server", "Redis server v=7.4.1 sha=00000000:0")
    monkeypatch.setenv("PATH", str(path.parent))
    server = choose_server(7000, tmp_path)
    assert server.label == f"redis-server 7.4.1 ({path})"
    assert server.command[:3] == (str(path), "--port", "7000")
    assert not server.demo


def test_a_server_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "redis-server", "Redis server v=6.0.16 sha=00000000:0")
    valkey = program(tmp_path / "bin", "valkey-server", "Valkey server v=8.1.0 sha=00000000:0")
    monkeypatch.setenv("PATH", str(valkey.parent))
    assert choose_server(7000, tmp_path).label == f"valkey-server 8.1.0 ({valkey})"


def test_a_server_that_does_not_run_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = program(tmp_path / "bin", "redis-server", "")
    broken.write_text("#!/nonexistent/interpreter\n")
    monkeypatch.setenv("PATH", str(broken.parent))
    assert str(broken) not in choose_server(7000, tmp_path).command
