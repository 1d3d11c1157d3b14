"""The scripted provider (`kind = "scripted"`): answers without a model, a key or a network. See README.md.

Profile options: `rate` (deltas a second, 0: unpaced), `start` (seconds before the first), `scripts` (by
name).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator

from palaver.shared.errors import ConfigurationError, PalaverError, ValidationError
from palaver.shared.profiles import Profile
from palaver.workers.http import HttpClient
from palaver.workers.providers.base import GenerationRequest, Provider
from palaver.workers.providers.parts import Part
from palaver.workers.providers.script import BUILT_IN, Script, choose, play

_MOST_COUNTED = 10_000  # scripts whose requests are counted, before counting starts anew


class ScriptedProvider(Provider):
    """Plays the script that the model name, the profile and the user message make up."""

    continues_prefix = True

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        super().__init__(profile, http)
        self._requests: Counter[str] = Counter()
        self._scripts = scripts = profile.options.get("scripts", {})
        try:
            self._defaults = Script(rate=profile.options.get("rate"), start=profile.options.get("start"))
            if not isinstance(scripts, dict):
                raise ValidationError("scripts: must be a table")
            self._scripts = {
                name: Script.model_validate(script) and script for name, script in scripts.items()
            }
        except ValidationError as error:
            problem = f"provider {profile.name}: options: {error.message}"
        else:
            return
        raise ConfigurationError(problem, provider=profile.name)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[list[Part], None]:
        """See `Provider.stream`."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            script = self._paced(self.script_of(request))
            timeouts = self.timeouts(request.timeouts)
            for at, outcome in play(
                script, request, timeouts=timeouts, fails=self._fails(script, request.model)
            ):
                # Unpaced scripts too let others run between two deltas.
                await asyncio.sleep(max(0.0, started + at - loop.time()))
                if isinstance(outcome, PalaverError):
                    raise outcome
                yield outcome
        except PalaverError as error:
            error.provider = error.provider or self.profile.name
            raise

    def script_of(self, request: GenerationRequest) -> Script:
        """What a request is answered with. Raises ModelNotFoundError, ValidationError."""
        return choose(request, self._scripts)

    @classmethod
    def gives_several(cls, profile: Profile) -> bool:
        """One: a script has no `n`."""
        return False

    @classmethod
    def known_models(cls, profile: Profile) -> list[str]:
        """The profile's models, else the names of all scripts."""
        scripts = profile.options.get("scripts")
        names = {*BUILT_IN, *(scripts if isinstance(scripts, dict) else ())}
        return sorted(names) if profile.models is None else profile.models

    async def models(self) -> list[str] | None:
        """The names of all scripts."""
        return sorted({*BUILT_IN, *self._scripts})

    def _paced(self, script: Script) -> Script:
        missing = {
            name: getattr(self._defaults, name) for name in ("rate", "start") if getattr(script, name) is None
        }
        return script.model_copy(update=missing)

    def _fails(self, script: Script, model: str) -> bool:
        if script.fail is None or script.fail.times is None:
            return True
        key = f"{model} {script.to_json().decode()}"
        if len(self._requests) > _MOST_COUNTED:
            self._requests.clear()
        self._requests[key] += 1
        return self._requests[key] <= script.fail.times
