"""The bench at a tiny size: what can run is timed, what cannot is left out aloud, and the CSV can be drawn."""

import csv
import functools
import json
import multiprocessing
import sys

import bench
import bench_plot
import pytest
import torch
import yaml
from smoke import ROOT

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SOLVERS = {"eager in place", "eager, reference", "torch.compile", "tvmap"}
FLOORS = {"floor: state from L1", "floor: rows in L1"}  # loads and stores alone; with the arithmetic
TWO_STAGES = {"eager autograd", "torch.compile", "tvmap"}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """No compilation, which takes ten seconds; and torch's number of threads as it was."""
    monkeypatch.setattr(bench, "_compiled_iteration", lambda: bench._iteration)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def measured(make, device="cpu", batch=2, **options):
    return list(bench.measure("what", make, [bench.Problem(device, 24, batch, 6)], 1, rounds=(2, 2), **options))


def variants(rows, title="what"):
    return {row["variant"] for row in rows if row["what"] == title}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("make", "expected", "on_gpu"),
    [
        (bench.forward, SOLVERS, {"eager in place, CUDA graph", "tvmap, CUDA graph"}),
        (functools.partial(bench.forward, scalar=True), SOLVERS, {"eager in place, CUDA graph", "tvmap, CUDA graph"}),
        (bench.forward_backward, TWO_STAGES, {"eager autograd, CUDA graph", "tvmap, CUDA graph"}),
        (bench.training_step, TWO_STAGES, {"eager autograd, CUDA graph", "tvmap, tf32", "tvmap, bfloat16"}),
        (bench.grid_of_one_image, {"tvmap"}, set()),
    ],
)
def test_all_variants_run_and_agree(make, expected, on_gpu, device, capsys):
    rows = measured(make, device, projected=("thousand", 1000))
    if device == "cuda":
        expected = expected | on_gpu
    assert variants(rows) - {"tvmap, bfloat16"} == expected - {"tvmap, bfloat16"}, capsys.readouterr().out
    assert [row["ratio"] for row in rows if row["what"] == "what"][0] == 1
    assert all(row["milliseconds"] > 0 for row in rows)
    slow = {row["variant"]: row["milliseconds"] for row in rows if row["what"] == "projected: thousand"}
    assert slow == pytest.approx({r["variant"]: 1000 * r["milliseconds"] for r in rows if r["what"] == "what"}, rel=0.1)
    if make is bench.forward_backward:
        assert variants(rows, "backward") == TWO_STAGES
        total, last = ({r["variant"]: r["milliseconds"] for r in rows if r["what"] == n} for n in ("what", "backward"))
        assert all(0 < last[variant] < total[variant] for variant in TWO_STAGES)


def test_the_floor_and_ssim_are_there_for_one_image():
    assert variants(measured(bench.forward, batch=1)) == {*SOLVERS, *FLOORS}
    assert variants(measured(bench.similarity, batch=1)) == {"scikit-image", "tvmap"}


def test_the_slow_reference_is_left_out_for_many_pixels():
    stages = bench.forward(bench.Problem("cpu", 512, 4, 1))["eager, reference"]
    with pytest.raises(RuntimeError, match="in place is faster"):
        bench.timed(stages, "cpu")


def test_growth_is_measured_in_one_comparison():
    problems = [bench.Problem("cpu", 24, iterations=n) for n in (3, 6)]
    rows = list(bench.measure("growth with T", bench.growth, problems, 1, rounds=(2, 2)))
    assert [(row["variant"], row["iterations"], row["ratio"]) for row in rows] == [("tvmap", 3, 1), ("tvmap", 6, 1)]


def test_what_gives_another_result_is_left_out(monkeypatch, capsys):
    solver = bench.eager_in_place
    monkeypatch.setattr(bench, "pdhg", lambda z, weight, iterations: solver(z, weight, iterations + 1))
    assert "eager, reference" not in variants(measured(bench.forward))
    assert "left out: what, 24², batch 2, eager, reference: its result differs by" in capsys.readouterr().out


def test_what_cannot_run_is_left_out(monkeypatch, capsys):
    def no_compiler():
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(bench, "_compiled_iteration", no_compiler)
    assert variants(measured(bench.forward)) == SOLVERS - {"torch.compile"}
    assert "torch.compile: No working C++ compiler" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    assert measured(bench.similarity) == []
    assert "left out: what: " in capsys.readouterr().out


def test_eager_autograd_is_left_out_where_it_needs_too_much_memory(monkeypatch, capsys):
    monkeypatch.setattr(bench, "CPU_GIB", 1e-6)
    rows = measured(bench.forward_backward)
    assert [(row["what"], row["variant"], row["ratio"]) for row in rows] == [
        ("what", "tvmap", None),
        ("backward", "tvmap", None),
    ]
    assert "eager autograd would keep" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell the peak")
def test_the_memory_of_eager_autograd_is_what_the_bench_assumes(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    problem = bench.Problem("cpu", 128)
    with multiprocessing.get_context("spawn").Pool(1) as process:
        mib = process.apply(bench.memory_growth, (bench.forward_backward, problem, "eager autograd", 1))
    assert mib == pytest.approx(bench.AUTOGRAD_BYTES * 128**2 * bench.T / 2**20, rel=0.15)


def test_a_run_leaves_its_files(monkeypatch, tmp_path, capsys):
    only = [("forward, Λ", bench.forward, [bench.Problem("cpu", 24, 1, 6)], 1)]
    monkeypatch.setattr(bench, "comparisons", lambda device, quick: only)
    bench.main("cpu", True, tmp_path / "bench")
    with open(tmp_path / "bench" / "results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert variants(rows, "forward, Λ") == {*SOLVERS, *FLOORS}
    assert json.loads((tmp_path / "bench" / "machine.json").read_text())["cores"] >= 1
    assert (tmp_path / "bench" / "speed.png").is_file()
    assert len(capsys.readouterr().out.splitlines()) == len(rows) + 2


def write_csv(path, device, growth=True):
    """A CSV of `device` with a bar each for forward and step, a row that the figure must not show, and the growth."""
    rows = [("forward, Λ", "eager in place", 256, 1, 256, 100.0, 1.0), ("forward, Λ", "tvmap", 256, 1, 256, 5.0, 20.0)]
    rows += [
        ("training step", "tvmap, bfloat16", 256, 1, 256, 2500.0, None),
        ("forward, Λ", "tvmap", 512, 1, 256, 9, 1),
    ]
    for title, size, batch, iterations in (("T", 256, 1, 64), ("pixels", 64, 1, 256), ("images", 256, 1, 256)):
        rows += [(f"growth with {title}", "tvmap", size, batch, iterations, 3.0, 1)] if growth else []
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(bench.COLUMNS)
        for *start, ms, ratio in rows:
            writer.writerow([device, *start, 1 if device == "cpu" else None, 3, ms, ratio, None])
    return path


def test_the_figure_shows_what_the_csv_says(tmp_path):
    paths = [write_csv(tmp_path / f"{device}.csv", device) for device in ("cpu", "cuda")]
    figure = bench_plot.plot(paths, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 10_000
    assert [axes.get_title(loc="left")[:4] for axes in figure.axes] == ["CPU:", "CPU:", "CUDA", "CUDA"]
    for bars, growth in (figure.axes[:2], figure.axes[2:]):
        assert [bar.get_width() for bar in bars.patches] == [100, 5, 2500]
        assert [text.get_text() for text in bars.texts] == ["100 ms", "5 ms, 20×", "2.5 s"]
        assert [line.get_xdata()[0] for line in growth.lines] == [1 / 4, 1 / 16, 1, 0]  # 0: in proportion


def test_a_run_that_was_aborted_can_be_drawn(tmp_path):
    figure = bench_plot.plot([write_csv(tmp_path / "cpu.csv", "cpu", growth=False)], tmp_path / "speed.png")
    assert len(figure.axes[0].patches) == 3 and not figure.axes[1].lines


def test_the_settings_are_those_of_the_study():
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    assert config["solver"]["iterations"] == config["training"]["iterations"] == bench.T
    assert config["training"]["learning_rate"] == bench.LEARNING_RATE
    assert tuple(config["grid"][name] for name in ("minimum", "maximum", "values")) == bench.GRID
    noise, training = config["noise"], config["training"]
    chosen = {"noise_level": noise["train_level"], "noise_kind": noise["kind"]}
    assert {**chosen, "crop": training["crop"], "flips": training["flips"]} == bench.TRAINING
    z, weight = bench.Problem("cpu", 12).data()
    options = {name: value for name, value in config["solver"].items() if name != "iterations"}
    torch.testing.assert_close(bench.solve(z, weight, bench.T), bench.solve(z, weight, bench.T, **options))
