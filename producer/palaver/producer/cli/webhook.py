"""`palaver webhook secret`: what a receiver of webhooks needs to know that they are ours."""

from palaver.producer.cli.terminal import note, write, write_json
from palaver.shared.errors import ConfigurationError
from palaver.shared.settings import Settings
from palaver.shared.webhooks import secret_text, secrets, tenant_secret


def secret(tenant: str | None, *, as_json: bool) -> int:
    """Print the key of a tenant, or of jobs without one; of a setting with two, both, the new one first."""
    setting = Settings.load().webhook_secret
    if setting is None:
        raise ConfigurationError(
            "PALAVER_WEBHOOK_SECRET must be set, to what the workers have: tenants' keys are made of it.",
            param="webhook_secret",
        )
    keys = [secret_text(tenant_secret(key, tenant)) for key in secrets(setting.get_secret_value())]
    if as_json:
        write_json({"tenant": tenant, "secrets": keys})
    else:
        write("".join(f"{key}\n" for key in keys))
        note(f"for the receivers of {f'the tenant {tenant}' if tenant else 'jobs without a tenant'} alone")
    return 0
