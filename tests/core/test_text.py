"""Names and lines from outside, as they are shown: nothing hidden, nothing cut that is needed."""

from narration_cleanup.core.text import LINE_LENGTH, SHOWN_LENGTH, printable, printable_line


def test_a_long_name_is_cut_and_says_so() -> None:
    name = "k" * 10_000_000
    assert printable(name) == "k" * SHOWN_LENGTH + "… (10000000 characters)"
    assert len(printable_line(name)) < LINE_LENGTH + 30


def test_a_line_with_names_in_it_keeps_its_end() -> None:
    """The end says what to do; a path alone may be longer than a name that is shown whole."""
    line = f"{printable('/deep' * 100)} is not there:\x1b run again"
    assert printable_line(line).endswith("is not there:\\x1b run again")
    hostile = f"{chr(0x1F600) * 3_000} is not there: run again [no_such_name]"
    assert printable_line(hostile).endswith("is not there: run again [no_such_name]")
    assert len(printable_line(hostile)) < LINE_LENGTH + 30
