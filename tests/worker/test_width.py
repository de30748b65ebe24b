"""How a width follows from what rounds took."""

import pytest
from pi_worker.width import AutoWidth, Pace


def chosen(width: int, *paces: Pace, longest: int = 100, limit: int = 8) -> int:
    auto = AutoWidth(longest, limit)
    for pace in paces:
        auto.note(pace)
    return auto.choose(width)


@pytest.mark.parametrize(
    ("width", "trained", "own", "slack", "expected"),
    [
        (1, 4, 5, 0, 1),  # the slowest itself
        (1, 4, 5, 3.9, 1),  # not yet a whole slot
        (1, 4, 5, 8, 3),  # three times as long is in time
        (2, 8, 9, 12, 5),
        (1, 1, 2, 40, 8),  # the pool's limit
        (1, 20, 21, 1000, 2),  # never beyond half of the longest phase
        (4, 70, 80, 0, 2),  # near the deadline: down
        (1, 70, 80, 0, 1),
    ],
)
def test_the_width_is_what_fits(width, trained, own, slack, expected):
    assert chosen(width, *[Pace(trained, own, slack)] * 3) == expected


def test_one_odd_round_changes_nothing_and_few_rounds_decide_nothing():
    odd, usual = Pace(4, 5, 50), Pace(4, 5, 0)
    assert chosen(1, odd, odd) == 1
    assert chosen(1, usual, odd, usual) == 1
    assert chosen(1, odd, odd, usual) == 8


def test_after_a_change_new_rounds_decide():
    auto = AutoWidth(100, 8)
    for _ in range(3):
        auto.note(Pace(4, 5, 8))
    assert auto.choose(1) == 3
    assert auto.choose(3) == 3
