"""How an answer goes on of which a part exists."""

import pytest

from palaver.shared.profiles import Resume
from palaver.workers.policies import Beginning, begin

NO = {"continues_prefix": False, "may_prompt": False}


@pytest.mark.parametrize(
    ("resume", "facts", "expected"),
    [
        (Resume.AUTO, {}, Beginning()),
        (Resume.AUTO, {"continues_prefix": True}, Beginning("said")),
        (Resume.AUTO, {"may_prompt": True}, Beginning("said", "continue")),
        (Resume.AUTO, {"continues_prefix": True, "may_prompt": True}, Beginning("said")),
        (Resume.PREFIX, {}, Beginning("said")),
        (Resume.PROMPT, {"continues_prefix": True}, Beginning("said", "continue")),
        (Resume.RESTART, {"continues_prefix": True, "may_prompt": True}, Beginning()),
    ],
)
def test_the_profile_decides(resume: Resume, facts: dict[str, bool], expected: Beginning) -> None:
    assert begin("said", resume=resume, **(NO | facts)) == expected


@pytest.mark.parametrize("resume", Resume)
def test_nothing_said_begins_anew(resume: Resume) -> None:
    assert begin("", resume=resume, continues_prefix=True, may_prompt=True) == Beginning()
