"""How many tokens a request is to use at its profile's gate, and has used."""

from __future__ import annotations

from palaver.shared.ledger import operations
from palaver.shared.profiles import Profile
from palaver.shared.responses import Usage
from palaver.shared.token_estimate import BYTES_A_TOKEN, tokens_of
from palaver.workers.policies import answer_tokens
from palaver.workers.providers import (
    GenerationRequest,
    Part,
    ReasoningDelta,
    Sink,
    TextDelta,
    UsagePart,
)
from palaver.workers.providers.flavours import budget_of
from palaver.workers.providers.wire import MOST_TOKENS

__all__ = ["Counting", "asked_for", "size_of", "thought_beyond"]


def thought_beyond(request: GenerationRequest) -> int:
    """Tokens that may be thought on top of `max_tokens`, see `ReasoningOptions`."""
    options = request.reasoning or request.params.reasoning
    if options is None or not options.enabled or options.within:
        return 0
    return min(budget_of(options), MOST_TOKENS)


def asked_for(most: int | None, context: int | None) -> int:
    """As `answer_tokens`: whatever is asked for, no answer has more than `MOST_TOKENS`."""
    return min(answer_tokens(most, context), MOST_TOKENS)


def size_of(profile: Profile, request: GenerationRequest) -> operations.Size:
    """What is known of the tokens of a request, where these are limited."""
    if profile.limits.tokens_per_minute is None:
        return operations.NO_TOKENS
    choices, thought = request.params.n or 1, thought_beyond(request)
    most, context = request.params.max_tokens, profile.context_of(request.model)
    most = None if most is None else asked_for(most, context) + thought
    if most is not None and context is not None:
        most = min(most, context)
    return operations.Size(
        prompt=tokens_of(request.messages, request.tools or ()),
        most=None if most is None else most * choices,
        guess=(asked_for(None, context) + thought) * choices,
        model=request.model,
    )


class Counting:
    """A sink that sees how many tokens are used by a request of this size."""

    def __init__(self, sink: Sink, size: operations.Size) -> None:
        self._sink = sink
        self._size = size
        self._told = Usage()
        self._said = 0  # bytes
        self.room = sink.room

    def take(self, parts: list[Part]) -> bool:
        """See `Sink.take`."""
        for part in parts:
            if isinstance(part, UsagePart):
                self._told = part.usage
            elif isinstance(part, TextDelta | ReasoningDelta):
                self._said += len(part.text.encode())
        return self._sink.take(parts)

    def used(self, *, whole: bool) -> tuple[int, int] | None:
        """Tokens, and those of the answer, by what the provider tells and else an estimate; None while the
        answer is not `whole` and nothing has come of it.
        """
        asked, answered = self._told.input_tokens, self._told.output_tokens
        said = -(-self._said // BYTES_A_TOKEN)
        if whole:
            said = said if answered is None else answered
        elif self._said or answered:
            said = max(said, answered or 0)  # what is told before the end may be of the beginning only
        else:
            return None
        return (self._size.prompt if asked is None else asked) + said, said
