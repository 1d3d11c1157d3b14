"""The providers' own clients, each imported where a test first uses it: both take two seconds of each process
that collects the tests, and most have no test that needs one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import anthropic as anthropic
    import openai as openai
else:

    class _Sdk:
        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> Any:
            if not name[0].isupper():  # pytest asks whatever stands in a module whether it is a test
                raise AttributeError(name)
            return getattr(import_module(self._name), name)

    anthropic, openai = _Sdk("anthropic"), _Sdk("openai")
