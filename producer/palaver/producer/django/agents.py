"""What the workers of a Django project serve; imported there, as `PALAVER_AGENTS`, and nowhere else.

`manage.py palaver_worker` sees to it; the project's settings are those of `DJANGO_SETTINGS_MODULE`.
"""

from typing import Any

import django
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import close_old_connections

from palaver.producer.django import configuration
from palaver.shared.plain import refuse

django.setup()

chat_urlpatterns = configuration.chat_urlpatterns()


async def load_user(user_id: str) -> Any:
    """The project's user, as agents have him in `self.user`. Raises ValidationError for one that is gone."""
    await sync_to_async(close_old_connections)()  # a worker lives for longer than a connection
    users = get_user_model()._default_manager  # noqa: SLF001 - Django's own name for it
    try:
        found = await users.filter(pk=user_id).afirst()
    except (DjangoValidationError, ValueError):  # it is not even the form of a key
        found = None
    if found is None:
        refuse("user", "the project has no such user")
    return found
