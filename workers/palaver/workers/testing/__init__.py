"""A whole Palaver in the process of a test: no broker, no network, no key. See README.md."""

from palaver.workers.testing.models import Models
from palaver.workers.testing.system import LocalSystem

__all__ = ["LocalSystem", "Models"]
