"""Coverage: the parser of a report, and the thresholds."""

import pytest

from assurance.coverage import is_enough, parse, tallies

REPORT = """TN:
SF:contracts/A.sol
DA:3,2
DA:4,0
FN:3,A.f
FNDA:2,A.f
BRDA:3,0,0,1
BRDA:3,0,1,-
BRDA:4,1,0,0
end_of_record
TN:
SF:contracts/B.sol
DA:3,1
end_of_record
"""


def test_lines_and_branches_are_read_from_a_report() -> None:
    files = parse(REPORT)
    assert files["contracts/A.sol"].lines == {3: 2, 4: 0}
    assert files["contracts/A.sol"].branches == {(3, 0, 0): 1, (3, 0, 1): 0, (4, 1, 0): 0}
    assert tallies(files) == ([True, False, True], [True, False, False])


@pytest.mark.parametrize(
    ("lines", "branches", "enough"),
    [(98, 95, True), (97, 95, False), (98, 94, False), (100, 100, True)],
)
def test_coverage_below_a_threshold_is_too_little(lines: int, branches: int, enough: bool) -> None:
    covered = [i < lines for i in range(100)]
    assert is_enough(covered, [i < branches for i in range(100)]) is enough


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no lines"):
        tallies(parse("TN:\n"))
