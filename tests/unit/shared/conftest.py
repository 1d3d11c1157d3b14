"""Property tests say the same on every machine, however busy; `HYPOTHESIS_PROFILE=search` looks further."""

import os

from hypothesis import HealthCheck, settings

_BUSY = [HealthCheck.too_slow]
settings.register_profile("same", deadline=None, derandomize=True, database=None, suppress_health_check=_BUSY)
settings.register_profile("search", deadline=None, max_examples=3000, suppress_health_check=_BUSY)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
