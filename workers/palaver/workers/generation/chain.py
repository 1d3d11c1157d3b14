"""What a chain of thought says to the model. Pure.

The steps are asked for one by one, each behind the answers to those before it; then the solution.
"""

from __future__ import annotations

from palaver.shared.jobs import Chain

__all__ = ["opening", "prompt_of", "step_name"]


def opening(chain: Chain) -> str:
    """What follows the task: all steps, and the first of them."""
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(chain.steps, 1))
    return f"Work through this in these steps, one at a time:\n{steps}\n\n{prompt_of(chain, 0)}"


def prompt_of(chain: Chain, done: int) -> str:
    """What is asked for when so many steps are done."""
    if done == len(chain.steps):
        return "All steps are done. Now give the solution, and nothing of the steps."
    return f"Do step {done + 1} now, and no other: {chain.steps[done]}"


def step_name(chain: Chain, done: int) -> tuple[str, str]:
    """The request that comes when so many steps are done: for a message, and as the job's field."""
    if done == len(chain.steps):
        return "the solution of the chain", "chain"
    return f"step {done + 1} of {len(chain.steps)} of the chain", f"chain.steps[{done}]"
