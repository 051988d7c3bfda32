"""Assignments are what trying all of them finds."""

import itertools
import math
import random

import pytest

from canvas._core import assign


def all_of_them(groups, limits, count):
    """Every choice within the limits, the least loss first, equal ones by their picks."""
    found = []
    for picks in itertools.product(*(range(len(group)) for group in groups)):
        chosen = [group[pick] for group, pick in zip(groups, picks, strict=True)]
        totals = [sum(costs[i] for _, costs in chosen) for i in range(len(limits))]
        if all(total <= limit for total, limit in zip(totals, limits, strict=True)):
            found.append((sum(loss for loss, _ in chosen), list(picks)))
    return [(picks, loss) for loss, picks in sorted(found)[:count]]


def problem(dice, resources):
    """Whole numbers, so that sums are exact and many choices tie; some costs are negative."""
    alternatives = [dice.randint(1, 6) for _ in range(dice.randint(1, 5))]
    groups = [
        [(float(dice.randint(0, 9)), [float(dice.randint(-3, 9)) for _ in range(resources)]) for _ in range(many)]
        for many in alternatives
    ]
    limits = [dice.choice([math.inf, float(dice.randint(-3, 6 * len(groups)))]) for _ in range(resources)]
    return groups, limits


@pytest.mark.parametrize("resources", [0, 1, 2, 3])
def test_the_best_assignments_are_those_that_trying_all_finds(resources):
    dice = random.Random(resources)
    empty = 0
    for _ in range(300):
        groups, limits = problem(dice, resources)
        count = dice.randint(1, 12)
        expected = all_of_them(groups, limits, count)
        assert assign(groups, limits, count) == (expected, True)
        empty += not expected
    assert empty < 150


def test_many_stages_are_proven_and_no_worse_than_what_chance_finds():
    dice = random.Random(4)
    groups = [[(dice.random(), [dice.random(), dice.random()]) for _ in range(8)] for _ in range(12)]
    limits = [4.0, 5.0]
    (best, second), proven = assign(groups, limits, 2)
    assert proven and best[1] <= second[1]
    for picks, loss in (best, second):
        chosen = [group[pick] for group, pick in zip(groups, picks, strict=True)]
        assert loss == pytest.approx(sum(one for one, _ in chosen))
        assert all(sum(costs[i] for _, costs in chosen) <= limit + 1e-9 for i, limit in enumerate(limits))
    for place, group in enumerate(groups):  # no single change is better
        for pick, (loss, costs) in enumerate(group):
            chosen = [groups[g][p] for g, p in enumerate(best[0])]
            chosen[place] = (loss, costs)
            fits = all(sum(c[i] for _, c in chosen) <= limit for i, limit in enumerate(limits))
            assert not fits or pick == best[0][place] or sum(one for one, _ in chosen) >= best[1] - 1e-9


def test_what_is_no_number_and_what_has_no_choice():
    assert assign([], [1.0]) == ([([], 0.0)], True)
    assert assign([[]], [1.0]) == ([], True)
    for groups, limits, fault in (
        ([[(0.0, [1.0, 2.0])]], [1.0], "every alternative needs 1 costs, one a limit, got 2"),
        ([[(math.nan, [1.0])]], [1.0], "losses and costs must be finite"),
        ([[(0.0, [1.0])]], [math.nan], "a limit is not a number"),
    ):
        with pytest.raises(ValueError, match=fault):
            assign(groups, limits)
