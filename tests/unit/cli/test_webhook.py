"""What receivers of webhooks are given."""

import json

import pytest
from standardwebhooks import Webhook

from palaver.producer.cli import main
from palaver.shared.webhooks import secrets, tenant_secret

NEW, OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2VFsBQIhrscChlQIMV+b5sSYspob7oD"


def test_the_keys_of_a_tenant_the_new_one_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PALAVER_WEBHOOK_SECRET", f"{NEW} {OLD}")
    assert main(["webhook", "secret", "acme"]) == 0
    told = capsys.readouterr().out.splitlines()
    made = [tenant_secret(secret, "acme") for secret in secrets(f"{NEW} {OLD}")]
    assert [secrets(line) for line in told] == [(key,) for key in made]
    assert Webhook(told[0])
    assert main(["webhook", "secret", "--json"]) == 0
    without = json.loads(capsys.readouterr().out)
    assert without["tenant"] is None
    assert not {NEW, OLD, *told} & {*without["secrets"]}


def test_without_the_setting_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webhook", "secret", "acme"]) == 2
    assert "PALAVER_WEBHOOK_SECRET must be set" in capsys.readouterr().err
