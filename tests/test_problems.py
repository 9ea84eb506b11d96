"""Problems by the thousand are counted whole, however often they are handed on."""

from narration_cleanup.model import Half, Problem, Severity
from narration_cleanup.problems import MOST_OF_A_KIND, Problems


def odd(number: int) -> Problem:
    return Problem(Half.CACHE, "odd_entry", "kept as it is", f"key-{number}")


def test_handed_on_they_are_still_as_many() -> None:
    met = Problems(map(odd, range(1_000)))
    told = Problems([Problem(Half.CACHE, "index_busy", "rewritten all the time")])
    told.extend(met)
    told.extend(Problems(map(odd, range(5))))
    assert len(met) == 1_000
    assert len(told) == 1_006
    lines = list(told)
    assert len(lines) == 1 + MOST_OF_A_KIND + 1
    assert lines[-1] == Problem(Half.CACHE, "odd_entry", "and 905 more of the same kind")
    assert all(line.severity is Severity.PROBLEM for line in lines)
