"""What the generations of Claude take, in one table: they differ in how they are asked to think, and in what
newer ones refuse.

Sources: Anthropic's documentation, "Thinking", "Effort", "Structured outputs", and its migration guides.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a model takes. The defaults are those of the newest."""

    prefix: bool = False  # goes on after an assistant message at the end
    adaptive: bool = True  # thinks as much as it finds right, by an effort; else within a budget of tokens
    sampling: bool = True  # takes temperature, top_p and top_k …
    both: bool = True  # … and the first two of them together
    schema: bool = True  # answers in the form of a JSON schema
    efforts: Mapping[str, str] = field(default_factory=lambda: {"minimal": "low"})  # other words than ours


EARLY: Final = Generation(prefix=True, adaptive=False, schema=False)
CLAUDE_4_1: Final = Generation(prefix=True, adaptive=False, schema=False, both=False)
CLAUDE_4_5: Final = Generation(prefix=True, adaptive=False, both=False)
CLAUDE_4_6: Final = Generation(both=False, efforts={"minimal": "low", "xhigh": "max"})
NEWEST: Final = Generation(sampling=False)
OTHER: Final = Generation(adaptive=False)  # a model of somebody else, behind the same API

GENERATIONS: Final = (
    (r"claude-(instant|[23])\b", EARLY),
    (r"claude-((opus|sonnet)-)?4-1\b", CLAUDE_4_1),
    (r"claude-((opus|sonnet)-)?4(-0)?(-(opus|sonnet))?(-\d{8}|\D*$)", EARLY),
    (r"claude-((opus|sonnet|haiku)-)?4-5", CLAUDE_4_5),
    (r"claude-((opus|sonnet)-)?4-6", CLAUDE_4_6),
    (r"claude", NEWEST),
)
"""By what stands in a model's name; the first that fits counts."""


def generation_of(model: str) -> Generation:
    """The generation of a model, be it called `claude-sonnet-4-5` or `anthropic/claude-4.5-sonnet`."""
    name = re.sub(r"[^a-z0-9]", "-", model.lower())
    return next((generation for pattern, generation in GENERATIONS if re.search(pattern, name)), OTHER)
