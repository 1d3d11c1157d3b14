"""What reaches a terminal."""

import pytest

from palaver.producer.cli.terminal import columns, harmless, one_line, seconds


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 漢字, 👩‍🚀", "plain, 漢字, 👩‍🚀"),
        ("line\n\ttabbed\r\n", "line\n\ttabbed\n"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x1b[2Jgone", "␛[2Jgone"),
        ("c1 \x9b2J", "c1 �2J"),
        ("back\x08space \x7f", "back␈space ␡"),
    ],
)
def test_no_text_controls_the_terminal(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_one_line_is_one_line_and_bounded() -> None:
    assert one_line("a\nb\r\n  c") == "a b c"
    assert one_line("x" * 200, width=10) == "x" * 9 + "…"


def test_columns_are_aligned_without_trailing_blanks() -> None:
    assert columns([("a", "long", ""), ("bcd", "e", "f")]) == "  a     long\n  bcd   e      f\n"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.123, "0.12 s"),
        (4.06, "4.1 s"),
        (200, "3 min 20 s"),
        (7200, "2 h 0 min"),
        (30 * 86_400 - 1, "29 d 23 h"),
    ],
)
def test_seconds(value: float, words: str) -> None:
    assert seconds(value) == words
