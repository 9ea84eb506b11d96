"""Names and lines from outside, as they are shown: nothing hidden, nothing cut that is needed."""

from narration_cleanup.escape import LINE_LENGTH, SHOWN_LENGTH, shown, shown_line


def test_a_long_name_is_cut_and_says_so() -> None:
    name = "k" * 10_000_000
    assert shown(name) == "k" * SHOWN_LENGTH + "… (10000000 characters)"
    assert len(shown_line(name)) < LINE_LENGTH + 30


def test_a_line_with_names_in_it_keeps_its_end() -> None:
    """The end says what to do; a path alone may be longer than a name that is shown whole."""
    line = f"{shown('/deep' * 100)} is not there:\x1b run again"
    assert shown_line(line).endswith("is not there:\\x1b run again")
