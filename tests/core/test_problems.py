"""Problems by the thousand are counted whole, however often they are handed on."""

import msgspec

from narration_cleanup.core.model import (
    MOST_KEPT,
    MOST_OF_A_KIND,
    Problem,
    Problems,
    Severity,
    Target,
)


def odd(number: int) -> Problem:
    return Problem(Target.CACHE, "malformed_entry", "kept as it is", f"key-{number}")


def warned(problem: Problem) -> Problem:
    return msgspec.structs.replace(problem, severity=Severity.WARNING)


def test_handed_on_they_are_still_as_many() -> None:
    met = Problems(map(odd, range(1_000)))
    told = Problems([Problem(Target.CACHE, "index_busy", "rewritten all the time")])
    told.extend(met)
    told.extend(Problems(map(odd, range(5))))
    assert len(met) == 1_000
    assert len(told) == 1_006
    lines = list(told)
    assert len(lines) == 1 + MOST_OF_A_KIND + 1
    rest = Problem(Target.CACHE, "malformed_entry", "and 905 more for the same reason", repeats=905)
    assert lines[-1] == rest
    assert all(line.severity is Severity.PROBLEM for line in lines)


def test_those_that_are_only_counted_become_what_all_others_do() -> None:
    met, told, accepted = Problems(map(odd, range(MOST_KEPT + 900))), Problems(), Problems()
    told.extend(met, lambda problem: problem)
    assert list(told) == list(met)
    accepted.extend(met, warned)
    *changed, rest = accepted
    assert {each.severity for each in [*changed, rest]} == {Severity.WARNING}
    assert (len(changed), rest.repeats) == (MOST_OF_A_KIND, MOST_KEPT + 800)
    mixed = Problems()
    mixed.extend(met, lambda problem: problem if problem == odd(5) else warned(problem))
    assert [each.repeats for each in mixed if each.repeats] == [MOST_KEPT - 101, 900]
    assert {each.subject for each in mixed if each.severity is Severity.PROBLEM} == {"key-5", None}
    assert len(accepted) == len(mixed) == len(met)


def test_those_that_are_only_counted_may_have_another_reason() -> None:
    met = Problems(map(odd, range(MOST_OF_A_KIND)))
    met.add(Problem(Target.CACHE, "malformed_entry", "no audio"))
    rest = Problem(Target.CACHE, "malformed_entry", "and 1 more of the same kind", repeats=1)
    assert list(met)[MOST_OF_A_KIND:] == [rest]
    told = Problems([odd(0)])
    told.extend(met)
    assert list(told)[MOST_OF_A_KIND].message == "and 2 more of the same kind"


def test_of_long_subjects_those_alone_are_kept_that_are_shown() -> None:
    """Ten thousand keys of 100 KB would be a gigabyte."""
    message, long = "its created_at is missing", "k" * 10_000
    many = [Problem(Target.CACHE, "malformed_entry", message, f"{n}{long}") for n in range(500)]
    met = Problems(many)
    assert len(met) == 500
    assert len(met._kept) == MOST_OF_A_KIND
    assert list(met)[-1].repeats == 500 - MOST_OF_A_KIND
