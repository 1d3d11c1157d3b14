"""Who gives an order that is told in logs and in `palaver status`."""

import getpass
import platform


def operator() -> str:
    """`user@host`, as far as this machine knows them."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        user = "?"
    return f"{user}@{platform.node()}"
