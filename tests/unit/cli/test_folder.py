"""The folder `.palaver`: one dev at a time, and a dead one is recognised."""

from dataclasses import replace
from pathlib import Path

import pytest

from palaver.producer.cli import dev
from palaver.producer.cli.folder import Addresses, DevFolder
from palaver.shared.errors import ConfigurationError

HERE = Addresses(
    pid=1,
    redis_url="redis://127.0.0.1:1/0",
    broker_url="redis://127.0.0.1:1/0",
    namespace="palaver",
    config="./palaver.toml",
    files_url="file:///files",
    flower_url=None,
    gateway_url=None,
    log="dev.log",
    parts={"redis": 2},
)


def test_only_one_holds_the_folder(tmp_path: Path) -> None:
    first, second = DevFolder(tmp_path), DevFolder(tmp_path)
    assert not first.running()
    with first.held() as mine:
        first.publish(HERE)
        assert mine
        assert second.running()
        with second.held() as also:
            assert not also
        assert second.addresses() == HERE, "the loser must not touch the winner's file"
    assert not second.running()
    assert second.addresses() is None


def test_who_holds_the_folder_is_told_without_a_password(tmp_path: Path) -> None:
    first = DevFolder(tmp_path)
    with first.held():
        first.publish(replace(HERE, redis_url="redis://:hunter2@127.0.0.1:1/0"))
        with (
            pytest.raises(ConfigurationError, match=r"process 1, redis://:\*\*\*@127") as refused,
            dev.running(dev.Options(), tmp_path),
        ):
            pass
    assert "hunter2" not in str(refused.value)


def test_a_file_without_its_dev_is_stale_until_the_next_dev(tmp_path: Path) -> None:
    folder = DevFolder(tmp_path)
    folder.path.mkdir()
    assert not folder.stale()
    folder.publish(HERE)
    assert folder.stale()
    with folder.held():
        assert not folder.stale()
        assert folder.addresses() is None


def test_the_last_log_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    folder = DevFolder(tmp_path)
    folder.path.mkdir()
    for text in (b"first", b"second"):
        with folder.open_log() as log:
            log.write(text)
    assert folder.log.read_bytes() == b"second"
    assert folder.log.with_name("dev.log.1").read_bytes() == b"first"


def test_an_unreadable_file_gives_no_addresses(tmp_path: Path) -> None:
    folder = DevFolder(tmp_path)
    folder.path.mkdir()
    (folder.path / "dev.json").write_text("{")
    assert folder.addresses() is None
