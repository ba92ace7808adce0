"""The small study killed in every rule ends as if nothing had happened; a full disk, a bad server, two runs at once."""

import os
import random

import pytest
from crash import STUDY, WAYS, Run, Server, contents, durations, rules_of, settings
from smoke import fresh

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "1"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """(settings, copies of the repository, folder of the study run once to its end, in peace)."""
    with Server() as found:
        change, folder = settings(found), tmp_path_factory.mktemp("undisturbed")
        copies = [fresh(tmp_path_factory.mktemp("killed")) for _ in range(ROUNDS)]
        run = Run(fresh(folder), change, folder.with_suffix(".txt"))
        assert run.finish(1) == 1
        yield change, copies, folder


@pytest.mark.crash
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_killed_in_every_rule_it_ends_with_the_same_bytes(undisturbed, tmp_path, round_, capsys):
    change, copies, finished = undisturbed
    random_, folder = random.Random(round_), copies[round_]
    counts, times = rules_of(folder, change), durations(finished)
    assert set(counts) == set(times), "every rule has its benchmark"
    ways = [way for _ in range(len(counts) // len(WAYS) + 6) for way in random_.sample(list(WAYS), len(WAYS))]
    run, left = Run(folder, change, tmp_path / "log.txt"), set(counts)
    try:
        while left:
            killed = run.kill_in(left, ways.pop(), random_.uniform(0, 0.95), times)
            if killed is None:
                break
            left.discard(killed)
        for rule in sorted(left):  # those whose jobs ended while others were waited for are run again
            expected = dict(times)
            while rule in left and ways:
                left.discard(run.kill_in({rule}, ways.pop(), random_.uniform(0, 0.95), expected, forced=rule))
                expected[rule] /= 2  # the machine may have been slower in the undisturbed run
        starts = run.finish()
    finally:
        run.end()
    with capsys.disabled():
        print(f"\nround {round_}: {len(run.lines)} kills, {starts} more starts\n  " + "\n  ".join(run.lines))
    expected, found = contents(finished), contents(folder)
    assert set(found) == set(expected) and any(f"results/{STUDY}/model/" in name for name in expected)
    assert [name for name in expected if found[name] != expected[name]] == []
    assert not left, "every rule was killed"
