"""What happens between the requests of one job. See README.md."""

from palaver.workers.generation.abstract import Abstract, reach, recalled, summary_request
from palaver.workers.generation.chain import opening
from palaver.workers.generation.completion import continue_delay
from palaver.workers.generation.conversation import answered
from palaver.workers.generation.functions import FunctionTools, tool
from palaver.workers.generation.journal import (
    Called,
    Continued,
    Entry,
    Journal,
    Rejected,
    Reply,
    Result,
    Stepped,
)
from palaver.workers.generation.kit import Kit
from palaver.workers.generation.prompts import Prompts, continue_prompt
from palaver.workers.generation.registry import Registry
from palaver.workers.generation.source import Offer, ToolContext, ToolError, ToolSource
from palaver.workers.generation.steps import (
    AskModel,
    Done,
    GoOn,
    Keep,
    RunTools,
    Step,
    after_failure,
    next_step,
)
from palaver.workers.generation.toolbox import Toolbox
from palaver.workers.generation.user_code import Escaped, UserCode

__all__ = [
    "Abstract",
    "AskModel",
    "Called",
    "Continued",
    "Done",
    "Entry",
    "Escaped",
    "FunctionTools",
    "GoOn",
    "Journal",
    "Keep",
    "Kit",
    "Offer",
    "Prompts",
    "Registry",
    "Rejected",
    "Reply",
    "Result",
    "RunTools",
    "Step",
    "Stepped",
    "ToolContext",
    "ToolError",
    "ToolSource",
    "Toolbox",
    "UserCode",
    "after_failure",
    "answered",
    "continue_delay",
    "continue_prompt",
    "next_step",
    "opening",
    "reach",
    "recalled",
    "summary_request",
    "tool",
]
