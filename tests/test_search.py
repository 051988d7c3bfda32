"""Ask and tell: determinism whatever the order and timing of results, misuse, the front, evolution against random."""

import random

import pytest

from canvas import Budget, Infeasible, Layer, _core

Search = _core.Search
LAYERS = [Layer(8, 8, (6, 6)), Layer(8, 16, (6, 6), stride=2)]
LIMITS = {"min_reach": 1, "full_flow": False, "trainable": False, "max_primitives": 8}
QUICK = {**LIMITS, "distinct": "nonnegative"}


def objectives(candidate) -> list[float] | None:
    """A made-up result: a function of the kernel alone. Some fail."""
    number = int(candidate.hash[:8], 16)
    return None if number % 7 == 0 else [candidate.binding.flops / 1e4, (number % 1000) / 1000]


def run(
    count: int, seed: int, order: random.Random, lookahead: int = 5, evaluate=objectives, strategy: str = "evolution"
) -> tuple[list[tuple], Search]:
    """Asks whenever a draw says so, tells in any order; the list of candidates in order."""
    search = Search(LAYERS, seed=seed, lookahead=lookahead, strategy=strategy, **QUICK)
    candidates, waiting = [], []
    while len(candidates) < count:
        if order.random() < 0.6 and (candidate := search.ask()) is not None:
            assert candidate.index == len(candidates)
            candidates.append((str(candidate.kernel), candidate.origin, candidate.parent))
            waiting.append(candidate)
        elif waiting:
            done = waiting.pop(order.randrange(len(waiting)))
            search.tell(done.index, evaluate(done))
    for done in waiting:
        search.tell(done.index, evaluate(done))
    return candidates, search


@pytest.mark.parametrize("strategy", ["evolution", "guided"])
def test_order_and_timing_of_results_change_nothing(strategy):
    lists = [run(90, 3, random.Random(seed), strategy=strategy)[0] for seed in range(4)]
    assert all(other == lists[0] for other in lists)
    assert {origin for _, origin, _ in lists[0]} == {"random", "mutation", "crossover"}
    assert run(30, 4, random.Random(0), strategy=strategy)[0] != lists[0][:30]


def test_more_results_than_are_ranked_at_once_change_nothing():
    """From 513 on the worse half is forgotten; who was told when still does not matter, and good ones stay parents."""

    def evaluate(candidate) -> list[float]:
        return [int(candidate.hash[:8], 16) % 1000 / 1000, int(candidate.hash[8:16], 16) % 1000 / 1000]

    lists = [run(640, 3, random.Random(seed), evaluate=evaluate) for seed in range(2)]
    assert lists[0][0] == lists[1][0]
    _, search = lists[0]
    late = {parent for _, _, parent in lists[0][0][600:] if parent >= 0}
    assert late & set(search.front()), "the best of all are tried again"


@pytest.mark.parametrize(("strategy", "count"), [("evolution", 560), ("guided", 90)])
def test_a_search_whose_candidates_are_repeated_goes_on_as_if_they_had_been_asked_for(strategy, count):
    def evaluate(candidate) -> list[float] | None:
        number = int(candidate.hash[:8], 16)
        return None if number % 50 == 0 else [number % 1000 / 1000, int(candidate.hash[8:16], 16) % 1000 / 1000]

    first, again = (Search(LAYERS, seed=5, lookahead=3, strategy=strategy, **QUICK) for _ in range(2))
    for index in range(count):
        candidate = first.ask()
        again.repeat(candidate.kernel)
        for search in (first, again) if index < count - 2 else ():  # the last two are under way
            search.tell(index, evaluate(candidate))
    for search in (first, again):
        search.tell(count - 2, None)
    assert [str(first.ask().kernel) for _ in range(2)] == [str(again.ask().kernel) for _ in range(2)]
    assert first.ask() is again.ask() is None
    with pytest.raises(ValueError, match="results of earlier candidates"):
        again.repeat(candidate.kernel)
    again.tell(count - 1, None)
    with pytest.raises(ValueError, match="was a candidate before"):
        again.repeat(candidate.kernel)


@pytest.mark.parametrize("strategy", ["evolution", "guided"])
@pytest.mark.parametrize("lookahead", [1, 5])
def test_a_candidate_depends_on_results_up_to_its_lookahead_alone(lookahead, strategy):
    def other_from(first: int):
        return lambda candidate: objectives(candidate) if candidate.index < first else [1.0, float(candidate.index % 3)]

    whole = run(70, 3, random.Random(0), lookahead, strategy=strategy)[0]
    changed = run(70, 3, random.Random(0), lookahead, other_from(30), strategy)[0]
    assert changed[: 30 + lookahead] == whole[: 30 + lookahead]
    assert changed != whole
    for index, (_, _, parent) in enumerate(whole):
        assert parent < 0 or parent <= index - lookahead


def test_failures_are_no_parents():
    failed = set()

    def evaluate(candidate):
        if candidate.index % 2 == 0:
            failed.add(candidate.index)
            return None
        return [1.0, float(candidate.index)]

    candidates, search = run(80, 1, random.Random(0), evaluate=evaluate)
    assert not failed & {parent for _, _, parent in candidates}
    assert not failed & set(search.front())
    all_failed = run(40, 1, random.Random(0), evaluate=lambda candidate: None)
    assert {origin for _, origin, _ in all_failed[0]} == {"random"}
    assert all_failed[1].front() == []


def test_ask_waits_for_what_it_depends_on():
    search = Search(LAYERS, lookahead=3, **QUICK)
    assert [search.ask().index for _ in range(3)] == [0, 1, 2]
    assert search.ask() is None
    search.tell(1, [1.0])
    assert search.ask() is None
    search.tell(0, None)
    assert [search.ask().index for _ in range(2)] == [3, 4]
    assert search.ask() is None


def test_misuse_is_a_value_error():
    search = Search(LAYERS, **QUICK)
    with pytest.raises(ValueError, match="candidate 0 was never asked for"):
        search.tell(0, [1.0])
    for _ in range(5):
        search.ask()
    search.tell(0, [1.0, 2.0])
    for index, values, message in (
        (0, [1.0, 2.0], "candidate 0 was told already"),
        (0, None, "candidate 0 was told already"),
        (-1, [1.0, 2.0], "never asked for"),
        (9, None, "never asked for"),
        (1, [1.0], "same number of objectives, got 1 after 2"),
        (1, [], "at least one objective"),
        (1, [float("nan"), 1.0], "must be finite"),
        (1, [float("inf"), 1.0], "must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            search.tell(index, values)
    search.tell(1, [3.0, 1.0])
    assert search.front() == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lookahead": 0}, "lookahead must be at least 1"),
        ({"strategy": "annealing"}, "'guided', 'evolution' or 'random', got 'annealing'"),
        ({"max_primitves": 3}, "no limit is called 'max_primitves'; there are .*max_primitives"),
        ({"min_primitives": 9, "max_primitives": 4}, "min_primitives <= max_primitives"),
        ({"weights": {"convolve": 1.0}}, "no primitive is called 'convolve'"),
        ({"weights": {"fc": -1.0}}, "weight of fc"),
        ({"weights": {"fc": float("nan")}}, "weight of fc"),
        ({"weights": {p["name"]: 0.0 for p in _core.primitives()}}, "the weights forbid every primitive"),
        ({"max_width": 0}, "max_width"),
        ({"max_variables": 9}, "max_variables"),
        ({"max_weighted": 0}, "max_weighted"),
        ({"layers": []}, "at least one layer"),
        ({"layers": [Layer(8, 8), Layer(8, 8, (4,))]}, "all layers must be of one kind, got conv2d and conv1d"),
    ],
)
def test_bad_settings_are_value_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        Search(**{"layers": LAYERS, **arguments})


def test_a_budget_that_nothing_meets_ends_with_its_reason():
    with pytest.raises(Infeasible, match="budget flops must be at most 1e-06 of the original"):
        Search(LAYERS, Budget(flops=1e-6), **QUICK).ask()


def test_the_front_is_what_no_other_dominates():
    rng = random.Random(0)
    for size in (1, 2, 3):
        search = Search(LAYERS, seed=size, lookahead=1, **QUICK)
        told = {}
        for _ in range(60):
            candidate = search.ask()
            told[candidate.index] = None if rng.random() < 0.2 else [float(rng.randint(0, 9)) for _ in range(size)]
            search.tell(candidate.index, told[candidate.index])
        points = {index: values for index, values in told.items() if values is not None}

        def dominated(values, points=points):
            return any(other != values and all(map(float.__le__, other, values)) for other in points.values())

        assert search.front() == [index for index, values in points.items() if not dominated(values)]


def test_few_children_are_illegal_or_over_the_budget():
    layers = [Layer(64, 64, (32, 32), count=4), Layer(64, 128, (32, 32), stride=2)]
    search = Search(layers, budget=Budget(flops=(0.02, 1.0), params=1.0), seed=1, max_primitives=12)
    for _ in range(150):
        candidate = search.ask()
        search.tell(candidate.index, objectives(candidate))
    counts = search.counts
    assert counts["illegal"] + counts["over_budget"] < 0.12 * counts["tried"], counts


def test_the_funnels_counts_add_up():
    search = Search(LAYERS, Budget(flops=0.6), seed=5, lookahead=1, max_primitives=8)
    for _ in range(40):
        candidate = search.ask()
        search.tell(candidate.index, objectives(candidate))
    counts = search.counts
    assert counts["kept"] == 40
    assert counts["tried"] == sum(value for name, value in counts.items() if name != "tried")
    assert set(counts) == {"tried", "illegal", "implausible", "over_budget", "duplicate", "outranked", "kept"}
    assert counts["over_budget"] > 0


def distance(candidate) -> float:
    """How far the kernel is from one that shifts, gates and sees a window, at a third of the operations."""
    wanted = ["shift", "unfold", "mul", "sigmoid", "relu", "split", "add"]
    has = candidate.kernel.primitives
    missing = sum(name not in has for name in wanted)
    return (
        missing
        + 0.2 * max(0, len(has) - 10)
        + abs(candidate.binding.flops / sum(layer.flops for layer in LAYERS) - 0.3)
    )


def best_of(strategy: str, seed: int, count: int) -> float:
    search = Search(LAYERS, seed=seed, strategy=strategy, **{**QUICK, "max_primitives": 12})
    best = float("inf")
    for _ in range(count):
        candidate = search.ask()
        value = distance(candidate)
        best = min(best, value)
        search.tell(candidate.index, [value])
    return best


def test_evolution_beats_random_sampling_at_equal_cost():
    seeds = range(6)
    evolution = [best_of("evolution", seed, 200) for seed in seeds]
    sampling = [best_of("random", seed, 200) for seed in seeds]
    assert sum(evolution) / len(seeds) < sum(sampling) / len(seeds) - 0.3, (evolution, sampling)
    assert sum(e < r for e, r in zip(evolution, sampling, strict=True)) >= 4, (evolution, sampling)


def test_the_guide_learns_more_than_evolution_does():
    seeds = range(6)
    guided, evolution = ([best_of(strategy, seed, 100) for seed in seeds] for strategy in ("guided", "evolution"))
    assert sum(guided) < sum(evolution), (guided, evolution)


def over_the_limit(seed: int, told: bool) -> int:
    """How many of the later candidates take too long (more primitives take longer), where those before that did failed;
    `told`: the time that they take is known."""
    search = Search(LAYERS, seed=seed, lookahead=1, strategy="guided", **QUICK)
    late = 0
    for index in range(70):
        candidate = search.ask()
        accuracy, seconds = int(candidate.hash[:8], 16) % 1000 / 1000, str(candidate.kernel).count("\n") / 10
        fits = seconds <= 0.5
        late += index >= 20 and not fits
        search.tell(index, [-accuracy, seconds] if fits else None, [float("nan"), seconds] if told and not fits else [])
    return late


def test_what_is_known_of_candidates_that_failed_is_learned_from():
    with_it, without = (sum(over_the_limit(seed, told) for seed in range(4)) for told in (True, False))
    assert with_it < without


def test_only_listed_kernels_are_asked_for():
    listed = {kernel.hash for kernel in _core.sample(LAYERS, 60, seed=1, **{**LIMITS, "max_primitives": 4})}
    for strategy in ("random", "evolution", "guided"):
        search = Search(LAYERS, seed=1, strategy=strategy, only=listed, **{**QUICK, "max_primitives": 4})
        for _ in range(40):
            candidate = search.ask()
            assert candidate.hash in listed
            search.tell(candidate.index, objectives(candidate))
        assert search.counts["unlisted"] > 0
        assert search.counts["kept"] == 40
    with pytest.raises(Infeasible):
        Search(LAYERS, only={"0" * 32}, **QUICK).ask()
