"""The arithmetic of tests/cost.py: what is extrapolated from small studies."""

import re
import sys

import cost
import pandas as pd
import pytest
import smoke
import yaml


def test_the_line_goes_through_the_medians_of_the_ends():
    rows = [(2, 5.0), (2, 7.0), (2, 6.0), (4, 100.0), (10, 22.0)]  # what lies between does not count
    assert cost.line(rows) == pytest.approx((2.0, 2.0))
    assert cost.line([(2, 5.0), (10, 4.9)]) == (5.0, 0.0)  # noise of the clock, no job gets shorter by more images


def test_jobs_go_to_the_first_free_core():
    assert cost.makespan([4.0] * 3, 2) == 8.0  # the third waits, it cannot be divided
    assert cost.makespan([3, 3, 2, 2, 2], 2) == 7.0
    assert cost.makespan([5.0, 1.0], 64) == 5.0


def test_a_job_of_the_grid_is_a_shard_of_the_larger_split():
    jobs = cost.jobs_of_large()
    assert max(jobs["search_grid"]) == 624 / 8 and len(jobs["search_grid"]) == 10 * (2 + 8)
    assert min(jobs["search_grid"]) == 8 and sum(jobs["search_grid"]) == 10 * (16 + 624)
    assert jobs["prepare_images"] == [5216, 16, 624]


def test_these_are_the_jobs_that_snakemake_plans(tmp_path):
    protocols = {f"level{k}": k / 20 for k in range(1, cost.LEVELS - 1)}  # beside the two of config.yaml
    study = {
        "study": "large",
        "data": {"source": "sample", "images": cost.LARGE, "size": cost.SIZE},
        "noise": {"protocols": protocols, "draws": 1},
        "grid": {"shards": cost.SHARDS, "shard_images": cost.SHARD_IMAGES},
    }
    (smoke.fresh(tmp_path) / "large.yaml").write_text(yaml.safe_dump(study))
    options = "--dry-run", "--quiet", "rules", "--cores", "2", "--configfile", "large.yaml"
    run = smoke.program(tmp_path, sys.executable, "-m", "snakemake", *options)
    planned = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", run.stdout, re.MULTILINE)}
    assert run.returncode == 0, run.stdout[-3000:]
    jobs = {step: len(images) for step, images in cost.jobs_of_large().items()}
    jobs["denoise_images"] += jobs.pop("denoise_map")
    assert {step: planned[step] for step in jobs} == jobs


def test_the_published_costs_come_of_the_published_times(tmp_path):
    published = smoke.ROOT / "results/reference/cost"
    times = pd.read_csv(published / "measured.csv").set_index("test_images")[["step", "n", "seconds"]]
    fit, check = (
        [row for one in studies for row in times.loc[one["test"]].itertuples(index=False, name=None)]
        for studies in (cost.FIT, [cost.CHECK])
    )
    assert len(fit) + len(check) == len(times)
    cost.write(cost.costs_of(fit, check), tmp_path)
    assert (tmp_path / "cost.csv").read_text() == (published / "cost.csv").read_text()
    assert "larger_measured_to_fitted" not in cost.costs_of(fit)


def test_the_whole_is_no_shorter_than_its_training_and_no_longer_than_on_one_node():
    lines = {step: (1.0, 0.5) for step in [*cost.STEPS, "train, a", "train, b"]}
    costs = cost.table(lines, {"a": 500, "b": 1})
    for name in "ab":
        whole, train = costs.loc[f"whole study, {name}"], costs.loc[f"train, {name}"]
        hours = [whole[f"nodes_{nodes}_h"] for nodes in cost.NODES]
        assert hours == sorted(hours, reverse=True) and hours[-1] > train["longest_job_h"]
        assert hours[0] * cost.CORES >= whole["core_h"]
    # One node: nothing is beside anything, so the hours of the steps add up.
    alone = costs.loc[cost.STEPS, "nodes_1_h"].sum() + costs.loc["train, a", "nodes_1_h"]
    assert costs.loc["whole study, a", "nodes_1_h"] == pytest.approx(alone)
    # On 64 nodes a long training hides the scalars.
    columns = costs.loc[[step for step in cost.STEPS if step not in cost.SCALAR], "nodes_64_h"]
    expected = columns.sum() + costs.loc["train, a", "nodes_64_h"]
    assert costs.loc["whole study, a", "nodes_64_h"] == pytest.approx(expected)


def test_a_study_that_was_measured_is_not_measured_again(tmp_path, monkeypatch):
    runs = []

    def measured(images, archive):
        runs.append(images["test"])
        return [("train, a", 4.0, 1.504), ("predict_maps", images["test"], 2.25)]

    monkeypatch.setattr(cost, "measured", measured)
    path = tmp_path / "measured.csv"
    first, other, again = (cost.measured_once({"test": n}, None, path) for n in (2, 30, 2))
    assert runs == [2, 30] and first == again == [("train, a", 4.0, 1.5), ("predict_maps", 2.0, 2.25)]
    assert other == [("train, a", 4.0, 1.5), ("predict_maps", 30.0, 2.25)]


def test_times_of_another_machine_are_not_gone_on_with(tmp_path, monkeypatch):
    path = tmp_path / "cost/machine.json"
    cost.on_this_machine(path)
    cost.on_this_machine(path)
    monkeypatch.setattr(cost.machine, "description", lambda: {"cpu": "another one"})
    with pytest.raises(SystemExit, match="machine.json: .* another machine; delete it"):
        cost.on_this_machine(path)
