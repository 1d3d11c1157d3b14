"""How a request goes on with an answer of which a part was already written: by an earlier attempt whose
worker died or handed over, or by a stream that was cut.

Pure. Readers are told by the offset of the next `stream_start`: 0 drops what they have, the whole length
keeps it.
"""

from dataclasses import dataclass, field

from palaver.shared.profiles import Resume

__all__ = ["CONTINUE_PROMPT", "Beginning", "begin"]

CONTINUE_PROMPT = "continue"


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the next stream begins, and how the provider is told."""

    said: str = field(default="", repr=False)  # text that stays; empty: the answer begins anew
    prompt: str | None = None  # ask to go on, in a user message after that text; None: as an assistant prefix


def begin(text: str, *, resume: Resume, continues_prefix: bool, may_prompt: bool) -> Beginning:
    """Decide from the profile's `resume` and from what is there: the text of the one answer that was cut.

    `continues_prefix`: the provider honours an assistant prefix. `may_prompt`: the job asked for its answer
    to be continued by prompts.
    """
    if not text or resume is Resume.RESTART:
        return Beginning()
    if resume is Resume.PREFIX or (resume is Resume.AUTO and continues_prefix):
        return Beginning(text)
    if resume is Resume.PROMPT or may_prompt:
        return Beginning(text, CONTINUE_PROMPT)
    return Beginning()
