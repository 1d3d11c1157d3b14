"""What the callers of one server know of it together."""

import time


class Signs:
    """When a server last answered somebody, and when it last failed somebody.

    Who waits for a connection while another caller finds the server away is told so with that one, and need
    not find out again. Times are of the monotonic clock; safe to use from several threads.
    """

    def __init__(self) -> None:
        self._answered = self._failed = float("-inf")
        self._failure: BaseException | None = None

    def answered(self) -> None:
        """Somebody has an answer."""
        self._answered = time.monotonic()

    def failed(self, error: BaseException, *, begun: float) -> None:
        """Who began at this time has none, which says something if nobody else was answered meanwhile."""
        if self._answered < begun:
            self._failure, self._failed = error, time.monotonic()

    def silence(self, asked: float) -> float:
        """For so many seconds, as far as one knows who waits since `asked`, nobody was answered."""
        return time.monotonic() - max(asked, self._answered)

    def failure(self, asked: float) -> BaseException | None:
        """What has shown since `asked` that the server is away, if nothing has shown the contrary."""
        return self._failure if self._failed > max(asked, self._answered) else None
