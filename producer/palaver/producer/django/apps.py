"""The app: `INSTALLED_APPS = [..., "palaver.producer.django"]`."""

from django.apps import AppConfig


class PalaverConfig(AppConfig):
    """It has a command, and no tables: conversations are where Palaver keeps them."""

    name = "palaver.producer.django"
    label = "palaver"
    verbose_name = "Palaver"
