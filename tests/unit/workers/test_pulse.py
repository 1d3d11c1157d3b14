"""How late the loop was, lately."""

from palaver.workers.metrics.pulse import Lags


def test_the_worst_of_the_last_minute_is_told_to_whoever_looks() -> None:
    lags = Lags()
    assert lags.worst(0.0) == 0.0
    for second in range(80):
        lags.note(0.7 if second == 20 else 0.001, float(second))
    assert lags.worst(79.0) == lags.worst(79.0) == 0.7
    for second in range(80, 100):
        lags.note(0.001, float(second))
    assert lags.worst(99.0) == 0.001


def test_a_beat_that_comes_early_is_not_late() -> None:
    lags = Lags()
    lags.note(-0.1, 1.0)
    assert lags.worst(1.0) == 0.0


def test_what_nobody_has_noted_for_a_minute_is_not_told() -> None:
    lags = Lags()
    lags.note(3.0, 0.0)
    assert lags.worst(71.0) == 0.0
