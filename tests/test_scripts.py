"""The scripts of the workflow, called directly: what they refuse, what they choose, and their form."""

import ast
import contextlib
import hashlib
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from skimage.metrics import peak_signal_noise_ratio
from smoke import RESULTS, ROOT, finished

import check_study
import choose_scalars
import collect_tables
import collect_times
import denoise_images
import explain_study
import fit_oracle_maps
import gather_grid
import measure_images
import pick_examples
import predict_maps
import refine_grid
import search_grid
import write_provenance
from tvmap import explain, fingerprint, grid, logs, machine, network, pdhg, solver, stacks, tabular
from tvmap.errors import StudyError
from tvmap.methods import METHODS

SCRIPTS = ROOT / "workflow/scripts"
ONE_MAP = {"maps": 1, "penalty": "tv"}
SOLVER = {"iterations": 16, "boundary": "periodic", "norm": "anisotropic", "dual_start": "zero", "lipschitz": 3}
MEASURE = {"clamp": False, "window": "gaussian"}


@pytest.fixture
def results(tmp_path_factory):
    """Results of the finished study, not to be changed."""
    return finished(tmp_path_factory) / RESULTS


def other_ids(path, target):
    """Copy a stack with its images in another order of names."""
    content = stacks.load(path)
    stacks.save(target, **{**content, "ids": content["ids"][::-1]})
    return target


# --- form


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_scripts_are_short_and_say_what_they_make(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= (120 if path.stem == "draw_unet" else 100)  # a drawing with many parts
    assert ast.get_docstring(ast.parse(text)).split("\n")[0].endswith((".", ":"))
    assert "from __future__" not in text


def test_every_rule_names_its_own_script_and_follows_its_code():
    seen = set()
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for name, body in re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", path.read_text(), re.MULTILINE):
            assert f'"../scripts/{name}.py"' in body
            code = re.search(r"^ +code=(.+),\n", body, re.MULTILINE)
            expected = "figure_code" if name == "draw_figure" else f'code_version("{name}")'
            assert (code and code[1]) == expected, name
            seen.add(name)
    called = {path.stem for path in SCRIPTS.glob("*.py") if "snakemake.log[0]" in path.read_text()}
    assert seen == {name for name in called if not name.startswith("draw_")} | {"draw_figure"}


def test_drawing_needs_no_torch():
    """The environment of the report has none."""
    for path in SCRIPTS.glob("*.py"):
        if path.stem.startswith(("draw_", "redraw_", "collect_", "pick_", "check_", "build_", "publish_")):
            for module in fingerprint.local_modules(path).values():
                imported = re.findall(r"^\s*(?:import|from) (\w+)", module.read_text(), re.MULTILINE)
                assert not {"torch", "numba", "safetensors"} & set(imported), f"{path.name} through {module.name}"


def test_a_gpu_out_of_memory_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended, logs.logged_to(tmp_path / "log"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 80 GiB")
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1 and "Traceback" not in "".join(lines)
    assert "out of memory" in lines[0] and "training.batch_size" in lines[0] and "resumes" in lines[0]


# --- grid


def test_shards_together_are_the_whole_in_any_number(results, tmp_path):
    clean, noisy = results / "clean/test.npz", results / "noisy/test_fixed0.5_0.npz"
    whole = {}
    for n_shards in (1, 3, 7):  # seven: more than images
        paths = [tmp_path / f"{k}-of-{n_shards}.csv" for k in range(1, n_shards + 1)]
        for k, path in enumerate(paths, 1):
            search_grid.main(clean, noisy, path, [0.0, 0.05], SOLVER, k, n_shards, "cpu", 1, MEASURE)
        gather_grid.main(paths, noisy, tmp_path / "grid.csv", n_values=2)
        whole[n_shards] = (tmp_path / "grid.csv").read_bytes()
    assert whole[1] == whole[3] == whole[7]
    assert list(pd.read_csv(tmp_path / "grid.csv")["id"].unique()) == list(stacks.load(noisy)["ids"])


@pytest.mark.parametrize("fault", ["missing row", "twice", "missing image", "other image", "empty cell"])
def test_incomplete_shards_are_refused(results, tmp_path, fault):
    noisy = results / "noisy/test_fixed0.5_0.npz"
    rows = pd.read_csv(results / "grid/test_fixed0.5_0.csv", dtype={"id": str})
    if fault == "missing row":
        rows = rows.drop(index=3)
    elif fault == "twice":
        rows = pd.concat([rows, rows.iloc[:1]])
    elif fault == "missing image":
        rows = rows[rows["id"] != rows["id"].iloc[0]]
    elif fault == "other image":
        rows["id"] = rows["id"].replace(rows["id"].iloc[0], "stranger")
    else:
        rows.loc[2, "ssim"] = np.nan
    rows.to_csv(tmp_path / "shard.csv", index=False)
    with pytest.raises(StudyError, match="shard.csv.*delete th"):
        gather_grid.main([tmp_path / "shard.csv"], noisy, tmp_path / "grid.csv", n_values=5)
    assert not (tmp_path / "grid.csv").exists()


def curve(path, scores, weights=(0.0, 0.1, 0.2)):
    """Write a grid of {image: its scores} with PSNR = score and SSIM = 1 − score."""
    rows = [(i, w, s, 1 - s) for i, values in scores.items() for w, s in zip(weights, values, strict=True)]
    pd.DataFrame(rows, columns=["id", "weight", "psnr", "ssim"]).to_csv(path, index=False)
    return path


def test_scalars_are_chosen_as_the_text_says(tmp_path):
    """Fixed: best mean over images and draws of validation. Oracles: per image, the smallest weight among equals."""
    val = [
        curve(tmp_path / "v0.csv", {"v": (0.0, 0.5, 0.4), "w": (0.0, 0.1, 0.3)}),
        curve(tmp_path / "v1.csv", {"v": (0.9, 0.6, 0.4), "w": (0.0, 0.1, 0.3)}),
    ]
    test = curve(tmp_path / "test.csv", {"b": (0.2, 0.7, 0.7), "a": (0.1, 0.2, 0.3)})
    fine = pd.DataFrame({"id": ["a", "b"], "weight_psnr": [0.19, 0.12], "psnr": [0.35, 0.72]})
    fine.assign(weight_ssim=[0.0, 0.0], ssim=[0.9, 0.8]).to_csv(tmp_path / "fine.csv", index=False)
    stacks.save(tmp_path / "noisy.npz", ids=np.array(["b", "a"]))
    paths = {method: tmp_path / f"{method}.npz" for method in METHODS[:4]}
    choose_scalars.main(val, test, tmp_path / "fine.csv", tmp_path / "noisy.npz", tmp_path / "choice.csv", paths)
    found = {method: stacks.load(path) for method, path in paths.items()}
    assert all(stack["ids"].tolist() == ["b", "a"] for stack in found.values())
    # means over validation: 0.225, 0.325, 0.35; the first draw alone, or the best of each image, would choose 0.1 or 0
    assert found["scalar-fixed"]["weight"].tolist() == [0.2, 0.2]
    assert found["scalar-oracle-psnr"]["weight"].tolist() == [0.1, 0.2]
    assert found["scalar-oracle-ssim"]["weight"].tolist() == [0.0, 0.0]
    assert found["noisy"]["weight"].tolist() == [0.0, 0.0]
    choice = pd.read_csv(tmp_path / "choice.csv").set_index("id")
    assert choice["psnr_edge"].to_dict() == {"b": False, "a": True} and choice["ssim_edge"].all()
    assert choice["psnr_gain_fine"].to_dict() == pytest.approx({"b": 0.02, "a": 0.05})
    assert choice["weight_psnr_fine"].to_dict() == {"b": 0.12, "a": 0.19}


def test_finer_grid_lies_between_the_neighbours_and_is_never_worse(results, tmp_path):
    arguments = [results / "clean/test.npz", results / "noisy/test_uniform_0.npz", results / "grid/test_uniform_0.csv"]
    refine_grid.main(*arguments, tmp_path / "fine.csv", 4, SOLVER, "cpu", 1, MEASURE)
    assert (tmp_path / "fine.csv").read_bytes() == (results / "grid/fine_uniform_0.csv").read_bytes()
    grid = pd.read_csv(arguments[2], dtype={"id": str})
    for row in pd.read_csv(tmp_path / "fine.csv", dtype={"id": str}).itertuples():
        curve = grid[grid["id"] == row.id].set_index("weight")
        assert abs(row.weight_psnr - curve["psnr"].idxmax()) < 0.03 - 1e-9 or row.psnr == curve["psnr"].max()
        assert row.psnr >= curve["psnr"].max() and row.ssim >= curve["ssim"].max()


@pytest.mark.parametrize(("apart", "n"), [(0, 9), (1, 13), (2, 17), (3, 14)])
def test_finer_grids_of_both_metrics_are_those_of_each_alone_and_no_weight_is_solved_twice(
    results, tmp_path, monkeypatch, apart, n
):
    clean, noisy = (results / folder for folder in ("clean/test.npz", "noisy/test_uniform_0.npz"))
    x, z, ids = stacks.load(clean)["images"], stacks.load(noisy)["images"], stacks.load(clean)["ids"]
    weights = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    best = {"psnr": 1, "ssim": 1 + apart}
    curves = [{"id": name, "weight": w} for name in ids for w in weights]
    table = pd.DataFrame(curves).assign(
        **{m: np.tile(weights == weights[at], len(ids)) * 1.0 for m, at in best.items()}
    )
    table.to_csv(tmp_path / "grid.csv", index=False)
    score, solved = grid.score, []
    monkeypatch.setattr(grid, "score", lambda *given, **options: solved.extend(given[2]) or score(*given, **options))
    refine_grid.main(clean, noisy, tmp_path / "grid.csv", tmp_path / "fine.csv", 4, SOLVER, "cpu", 1, MEASURE)
    assert len(solved) == len(ids) * n and len({*solved}) == n
    found = pd.read_csv(tmp_path / "fine.csv", dtype={"id": str}).set_index("id")
    for position, (metric, at) in enumerate(best.items()):
        own = grid.finer_values(weights, at, 4)
        alone = score(x, z, own, SOLVER, **MEASURE)[position]
        assert found[f"weight_{metric}"].to_list() == own[alone.argmax(axis=1)].tolist()
        assert found[metric].to_list() == pytest.approx(alone.max(axis=1), rel=1e-12)


# --- denoised images and their measurement


def test_weights_of_other_images_are_refused(results, tmp_path):
    noisy = results / "noisy/test_uniform_0.npz"
    weight = other_ids(results / "weights/test_uniform_0_map.npz", tmp_path / "weight.npz")
    with pytest.raises(StudyError, match="weight.npz: its images are not those of .*delete it"):
        denoise_images.main(noisy, weight, tmp_path / "x.npz", SOLVER, "cpu", threads=1)


def explained(folder, paths, denoised, **options):
    """Let explain_study write its tables into `folder`."""
    outputs = {name: folder / f"{name}.csv" for name in ("convergence", "learned", "failures", "contrasts")}
    files = {
        "noisy": paths["noisy"],
        "weights": {"scalar-fixed": paths["scalar"], "map": paths["map"]},
        "denoised": {"scalar-oracle-psnr": denoised, "map": denoised},
    }
    explain_study.main(paths["clean"], {"p": files}, outputs, SOLVER, "cpu", threads=1, **options)


def test_a_map_file_says_its_penalty_and_all_that_read_it_follow(tmp_path):
    """TV where it does not say; what is shown and compared of TGV's two maps is Λ₁."""
    rng = np.random.default_rng(0)
    ids, clean = np.array(["a", "b", "c"]), rng.random((3, 16, 24), np.float32)
    noise = rng.normal(0, 0.1, clean.shape).astype(np.float32)
    paths = {name: tmp_path / f"{name}.npz" for name in ("clean", "noisy", "map", "older", "scalar", "x")}
    stacks.save(paths["clean"], ids=ids, images=clean)
    stacks.save(paths["noisy"], ids=ids, images=clean + noise, levels=np.full(3, 0.1), noise_std=np.full(3, 0.1))
    settings = {"maps": 2, "penalty": "tgv", "noise_estimate": "input"}
    state = network.build(**settings, seed=0).unet.state_dict()
    network.save_weights(tmp_path / "w.safetensors", state, settings)
    model = tmp_path / "w.safetensors"
    predict_maps.main(model, paths["noisy"], paths["map"], settings, "cpu", threads=1)
    for key, other, own in (
        ("penalty", "tv", "tgv"),
        ("noise_estimate", "none", "input"),
        ("steps", "learned", "fixed"),
    ):
        words = f"w.safetensors: weights of a network with {key}: {own}; set network.{key} to it"
        with pytest.raises(StudyError, match=words):
            predict_maps.main(model, paths["noisy"], paths["x"], settings | {key: other}, "cpu", threads=1)
    maps = stacks.load(paths["map"])
    assert maps["weight"].shape == (3, 2, 16, 24) and maps["penalty"] == "tgv"
    stacks.save(paths["older"], ids=ids, weight=maps["weight"])
    stacks.save(paths["scalar"], ids=ids, weight=np.full(3, 0.1))
    z, weight = torch.from_numpy(clean + noise)[:, None], torch.from_numpy(maps["weight"])
    for name, penalty in (("older", "tv"), ("map", "tgv")):
        denoise_images.main(paths["noisy"], paths[name], paths["x"], SOLVER, "cpu", threads=1)
        expected = solver.solve_certified(z, weight, penalty, **SOLVER)
        found = stacks.load(paths["x"])
        assert np.array_equal(found["images"], expected.x[:, 0]) and np.array_equal(found["gap"], expected.gap)
    pd.DataFrame({"id": ids, "patient": ids}).to_csv(tmp_path / "manifest.csv", index=False)
    arguments = paths["clean"], paths["noisy"], tmp_path / "manifest.csv", {"map": paths["map"]}, {"map": paths["x"]}
    measure_images.main(*arguments, tmp_path / "x.csv", "p", 0, MEASURE)
    of_slope = maps["weight"][:, 0].mean(axis=(1, 2), dtype=np.float64)
    np.testing.assert_allclose(pd.read_csv(tmp_path / "x.csv")["weight_mean"], of_slope, rtol=1e-6)
    explained(tmp_path, paths, paths["x"])
    course = pd.read_csv(tmp_path / "convergence.csv")
    assert course.groupby("method")["dual_start"].unique().map(list).to_dict() == {
        "map": ["zero"],
        "scalar-fixed": ["zero", "image"],
    }
    learned = pd.read_csv(tmp_path / "learned.csv")
    explained(tmp_path, paths, paths["x"], traced=1)
    of_scalar = (
        pd.read_csv(tmp_path / "convergence.csv").set_index(["method", "dual_start"]).loc["scalar-fixed", "zero"]
    )
    first = solver.solve_certified(z[:1], 0.1, **{**SOLVER, "iterations": 1}).x
    found, of_all = (table["psnr"].iloc[0] for table in (of_scalar, course))
    assert (
        found == pytest.approx(peak_signal_noise_ratio(clean[0], first[0, 0].numpy(), data_range=1)) and found != of_all
    )
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "learned.csv"), learned)  # of all images
    assert list(learned["map"].unique()) == ["Λ₁", "Λ₀"]
    for k, (_, part) in enumerate(learned.groupby("map", sort=False)):
        expected = explain.by_detail(maps["weight"][:, k : k + 1], clean, np.full(3, 0.1))
        found = part.drop(columns=["protocol", "map"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-6)


def test_the_oracle_s_maps_of_tgv_are_solved_as_such(tmp_path):
    rng = np.random.default_rng(0)
    ids, clean = np.array(["a", "b"]), np.add.outer(np.linspace(0, 1, 16), np.linspace(0, 1, 24)).astype(np.float32) / 2
    clean = np.stack([clean, clean[::-1]])
    noisy = clean + rng.normal(0, 0.1, clean.shape).astype(np.float32)
    paths = {name: tmp_path / f"{name}.npz" for name in ("clean", "noisy", "scalar", "map", "x")}
    for name, images in (("clean", clean), ("noisy", noisy)):
        stacks.save(paths[name], ids=ids, images=images)
    stacks.save(paths["scalar"], ids=ids, weight=np.full(2, 0.1))
    inputs = (paths[name] for name in ("clean", "noisy", "scalar"))
    fit_oracle_maps.main(*inputs, paths["map"], SOLVER, 2, "tgv", threads=2)
    denoise_images.main(paths["noisy"], paths["map"], paths["x"], SOLVER, "cpu", threads=1)
    z, maps = torch.from_numpy(noisy)[:, None], torch.from_numpy(stacks.load(paths["map"])["weight"])
    expected, _ = solver.solve(z, maps, penalty="tgv", **SOLVER)
    assert np.array_equal(stacks.load(paths["x"])["images"], expected[:, 0])
    start, _ = solver.solve(z, torch.tensor([0.1, 0.05]), penalty="tgv", **SOLVER)
    errors = [((x[:, 0].numpy() - clean) ** 2).mean() for x in (start, expected)]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("which", ["noisy", "denoised"])
def test_images_in_another_order_are_not_measured(results, tmp_path, which):
    paths = {name: results / f"{name}/test_uniform_0{end}.npz" for name, end in (("noisy", ""), ("denoised", "_map"))}
    paths[which] = other_ids(paths[which], tmp_path / "other.npz")
    weights = {"map": results / "weights/test_uniform_0_map.npz"}
    arguments = [results / "clean/test.npz", paths["noisy"], results / "manifest.csv", weights]
    with pytest.raises(StudyError, match="its images are not those of .*delete it"):
        measure_images.main(*arguments, {"map": paths["denoised"]}, tmp_path / "x.csv", "uniform", 0, MEASURE)


def test_images_are_clamped_before_they_are_measured_if_asked(results, tmp_path):
    paths = {"noisy": results / "noisy/test_uniform_0.npz", "clean": results / "clean/test.npz"}
    arguments = [paths["clean"], paths["noisy"], results / "manifest.csv", {}, {"nlm": paths["noisy"]}]
    measure = {"clamp": True, "window": "uniform"}
    for name, how in (("as-is", MEASURE), ("clamped", measure)):
        measure_images.main(*arguments, tmp_path / f"{name}.csv", "uniform", 0, how)
    found = {name: pd.read_csv(tmp_path / f"{name}.csv") for name in ("as-is", "clamped")}
    clean, noisy = (stacks.load(paths[name])["images"].astype(np.float64) for name in ("clean", "noisy"))
    for name, images in (("as-is", noisy), ("clamped", noisy.clip(0, 1))):
        expected = -10 * np.log10(((images - clean) ** 2).mean((1, 2)))
        np.testing.assert_allclose(found[name]["psnr"], expected, rtol=1e-6)
    assert not np.allclose(found["as-is"]["ssim"], found["clamped"]["ssim"])


def test_noise_that_is_not_finite_is_refused_by_the_network(results, tmp_path):
    noisy = stacks.load(results / "noisy/test_uniform_0.npz")
    noisy["images"][1, 2, 3] = np.nan
    stacks.save(tmp_path / "noisy.npz", **noisy)
    model = results / "model/last.safetensors"
    with pytest.raises(StudyError, match="noisy.npz"):
        predict_maps.main(model, tmp_path / "noisy.npz", tmp_path / "x.npz", ONE_MAP, "cpu", threads=1)


def test_the_ratio_of_the_steps_goes_with_the_maps(tmp_path):
    """From the weights of the network to the weight file, the denoised images and the solver's convergence."""
    clean = np.linspace(0, 1, 2 * 16 * 16, dtype=np.float32).reshape(2, 16, 16)
    noise = np.random.default_rng(0).standard_normal(clean.shape, dtype=np.float32)
    names = ("clean", "noisy", "map", "scalar", "denoised")
    paths = {name: tmp_path / f"{name}.npz" for name in names}
    ids = np.array(["a", "b"])
    stacks.save(paths["clean"], ids=ids, images=clean)
    stacks.save(paths["noisy"], ids=ids, images=clean + 0.2 * noise, noise_std=np.full(2, 0.2))
    stacks.save(paths["scalar"], ids=ids, weight=np.full(2, 0.1))
    model = network.build(steps="learned", seed=0)
    model.log_ratio.data.fill_(0.5)
    network.save_weights(tmp_path / "model.safetensors", model.weights(), {"steps": "learned"})
    predict_maps.main(tmp_path / "model.safetensors", paths["noisy"], paths["map"], ONE_MAP, "cpu", threads=1)
    assert stacks.load(paths["map"])["log_ratio"] == 0.5

    z, solved = torch.from_numpy(stacks.load(paths["noisy"])["images"])[:, None], {}
    for name, log_ratio in (("map", 0.5), ("scalar", 0)):
        denoise_images.main(paths["noisy"], paths[name], paths["denoised"], SOLVER, "cpu", threads=1)
        weight = torch.from_numpy(stacks.load(paths[name])["weight"]).float()
        solved[name] = pdhg.pdhg(z, weight, **SOLVER, log_ratio=log_ratio)[0][:, 0].numpy()
        np.testing.assert_allclose(stacks.load(paths["denoised"])["images"], solved[name], atol=1e-5)
    explained(tmp_path, paths, paths["denoised"])
    course = pd.read_csv(tmp_path / "convergence.csv").set_index(["method", "dual_start", "iterations"])["psnr"]
    for name, method in (("map", "map"), ("scalar", "scalar-fixed")):
        expected = -10 * np.log10(((solved[name] - clean) ** 2).mean((1, 2))).mean()
        assert course[(method, "zero", SOLVER["iterations"])] == pytest.approx(expected, abs=1e-3)


# --- tables


def test_a_missing_measurement_ends_the_collection(results, tmp_path):
    table = pd.read_csv(results / "metrics/test_uniform_0.csv", dtype={"id": str, "patient": str})
    table.loc[3, "psnr"] = np.nan
    table.to_csv(tmp_path / "metrics.csv", index=False)
    paths = [results / "scalars/uniform_0.csv"], [results / "grid/test_uniform_0.csv"], results / "model/history.csv"
    report = {"bootstrap": 200, "confidence": 0.95}
    with pytest.raises(StudyError, match="metrics.csv: column psnr has empty cells; delete"):
        collect_tables.main([tmp_path / "metrics.csv"], *paths, tmp_path, ["uniform"], [0], report, 42, "sample", 32)


def test_examples_are_picked_by_gain_alone(tmp_path, results):
    ids = stacks.load(results / "clean/test.npz")["ids"]
    table = pd.read_csv(results / "tables/per_image.csv", dtype={"id": str}).query("protocol == 'uniform'")
    gains = dict(zip(ids, (0.5, -1.0, 3.0, 2.0), strict=True))
    scalar = table[table["method"] == "scalar-oracle-psnr"].set_index("id")["psnr"]
    of_map = table["method"] == "map"
    table.loc[of_map, "psnr"] = [scalar[i] + gains[i] for i in table["id"][of_map]]
    table.to_csv(tmp_path / "per_image.csv", index=False)
    paths = {
        "noisy": results / "noisy/test_uniform_0.npz",
        "scalar": results / "denoised/test_uniform_0_scalar-oracle-psnr.npz",
        "map": results / "denoised/test_uniform_0_map.npz",
        "weights": results / "weights/test_uniform_0_map.npz",
    }
    target = tmp_path / "examples.csv", {"uniform": tmp_path / "uniform.npz"}
    pick_examples.main(tmp_path / "per_image.csv", results / "clean/test.npz", {"uniform": paths}, *target)
    rows = pd.read_csv(target[0], dtype={"id": str})
    assert list(rows["kind"]) == ["median", "best", "worst"]
    assert list(rows["id"]) == [ids[3], ids[2], ids[1]]
    assert list(rows["gain_db"]) == pytest.approx([2.0, 3.0, -1.0])
    assert np.array_equal(stacks.load(target[1]["uniform"])["noisy"], stacks.load(paths["noisy"])["images"][[3, 2, 1]])


def test_times_are_added_up_by_step_and_a_resumed_training_counts_whole(tmp_path):
    """A benchmark's last line counts; the log of the same name says memory, machine, versions and time of day."""
    for name, seconds, memory, where in (
        ("train", 1.5, 90, "T00:00:30Z to T00:00:31Z on a node, 2 cores, Linux; with python 3.11"),
        ("train_direct", 2.5, 80, "T00:00:32Z to T00:00:34Z on a node, 2 cores, Linux; with python 3.11"),
        ("select", 1, None, None),
        ("denoise/a", 100, 500, "T00:00:50Z to T00:02:30Z on that node, 1 cores, Linux; with numpy 2.4, python 3.11"),
        (
            "denoise/b",
            200,
            300,
            "T00:00:40Z to T00:04:00Z on the node on top, 1 cores, Linux; with numpy 2.5",
        ),
    ):
        benchmark, log = tmp_path / f"benchmarks/{name}.tsv", tmp_path / f"logs/{name}.log"
        for path in (benchmark, log):
            path.parent.mkdir(parents=True, exist_ok=True)
        benchmark.write_text(f"s\th:m:s\n9\t0:00:09\n{seconds}\t0:00:01\n")
        log.write_text(f"12:00:00 INFO from {where}; peak memory: {memory} MiB\n" if memory else "killed\n")
    training = {"seconds": 4000.0, "max_rss_mib": 900, "machine": {"cpu": "another", "cores": 4, "platform": "Linux"}}
    training["versions"] = {"python": "3.10", "torch": "2.12"}
    (tmp_path / "training.json").write_text(json.dumps(training))
    (tmp_path / "direct.json").write_text(json.dumps(training | {"seconds": 5000.0}))
    trainings = {"train": tmp_path / "training.json", "train_direct": tmp_path / "direct.json"}
    names = ("train", "train_direct", "select", "denoise/a", "denoise/b")
    paths = [tmp_path / f"benchmarks/{name}.tsv" for name in names]
    collect_times.main(paths, trainings, tmp_path / "times.csv")
    times = pd.read_csv(tmp_path / "times.csv").set_index("step")
    assert times["jobs"].to_dict() == {"train": 1, "train_direct": 1, "select": 1, "denoise": 2}
    assert times["seconds"].to_dict() == {"train": 4000.0, "train_direct": 5000.0, "select": 1.0, "denoise": 300.0}
    memory = {"train": 900, "train_direct": 900, "select": -1, "denoise": 500}
    assert times["max_rss_mib"].fillna(-1).to_dict() == memory
    both = "that node, 1 cores, Linux; the node on top, 1 cores, Linux"
    another = dict.fromkeys(trainings, "another, 4 cores, Linux")
    assert times["machine"].fillna("").to_dict() == another | {"select": "", "denoise": both}
    numpy = "numpy 2.4, python 3.11; numpy 2.5"
    expected = dict.fromkeys(trainings, "python 3.10, torch 2.12") | {"select": "", "denoise": numpy}
    assert times["versions"].fillna("").to_dict() == expected
    assert times.loc["denoise", ["start", "end"]].tolist() == ["T00:00:40Z", "T00:04:00Z"]


def test_the_end_of_a_log_says_when_and_where_the_job_ran(tmp_path):
    before = logs.now()
    with logs.logged_to(tmp_path / "log"):
        logs.log.info("from here to there")
    found = logs.logged_end((tmp_path / "log").read_text())
    assert before <= found["start"] <= found["end"] <= logs.now()
    assert found["machine"] == machine.in_words(machine.description()) and int(found["max_rss_mib"]) > 10
    used = dict(version.split() for version in found["versions"].split(", "))
    assert used["numpy"] == np.__version__
    assert logs.logged_end("12:00:00 INFO from here to there\n") == {}


# --- the study checked from inside, and where it comes from


GAP = "relative gap ≤ 0.001 for every λ ≤ 0.1, fixed or of an oracle"
OF_RIVALS = "relative gap ≤ 0.001 for every λ ≤ 0.1, of a rival"
FAULTS = [
    ("every patient in one split", "manifest.csv", lambda t: t.assign(patient="P")),
    ("no image twice", "manifest.csv", lambda t: pd.concat([t, t.iloc[:1]])),
    ("5 rows and weights an image on the grid", "tables/grid.csv", lambda t: t.iloc[1:]),
    ("5 rows and weights an image on the grid", "tables/grid.csv", lambda t: pd.concat([t, t.iloc[:1]])),
    ("the grid covers every val image", "grid/val_uniform_0.csv", lambda t: t[t["id"] != t["id"].iloc[0]]),
    ("all numbers of the grid are finite", "grid/val_uniform_0.csv", lambda t: t.assign(ssim=-np.inf)),
    ("the grid covers every test image", "tables/grid.csv", lambda t: t[t["id"] != t["id"].iloc[0]]),
    ("every method on every test image", "tables/per_image.csv", lambda t: t.iloc[1:]),
    ("all numbers are finite", "tables/per_image.csv", lambda t: t.assign(psnr=np.inf)),
    ("no negative gap beyond rounding", "tables/per_image.csv", lambda t: t.assign(relative_gap=-1e-3)),
    (
        "every image made from the file with the manifest's checksum",
        "manifest.csv",
        lambda t: t.assign(sha256=t["sha256"].where(t["split"] != "val", "0" * 64)),
    ),
    (
        "scalar solutions with λ ≤ 0.1 within 0.01 of the minimiser",
        "tables/per_image.csv",
        lambda t: t.assign(gap=0.06),  # √(2 · 0.06 / 32²) = 0.0108
    ),
]


def check(results, folder, output, iterations=16, x_rays=False):
    paths = {name: folder / f"tables/{name}.csv" for name in ("per_image", "grid")}
    paths |= {"manifest": folder / "manifest.csv", "choice": folder / "tables/scalar_choice.csv"}
    clean = {split: results / f"clean/{split}.npz" for split in ("train", "val", "test")}
    numbers = {"n_values": 5, "n_protocols": 2, "n_draws": 1, "n_methods": 5, "iterations": iterations, "size": 32}
    paths |= {f"{split}_grids": sorted((folder / "grid").glob(f"{split}_*.csv")) for split in ("val", "train")}
    paths |= {"maps": sorted((folder / "metrics").glob("map_*.csv")), "tuning": []}
    numbers["n_methods"] += len(paths["maps"]) // 2  # of the two protocols
    check_study.main(paths, clean, output, **numbers, x_rays=x_rays)


def copied(results, folder):
    """What `check` reads of a study."""
    for name in ("tables", "grid"):
        (folder / name).mkdir()
    for path in (results / "manifest.csv", *results.glob("tables/*.csv"), *results.glob("grid/val_*.csv")):
        shutil.copyfile(path, folder / path.relative_to(results))


@pytest.mark.parametrize(("name", "file", "damage"), FAULTS)
def test_every_check_can_fail(results, tmp_path, name, file, damage):
    copied(results, tmp_path)
    check(results, tmp_path, tmp_path / "checks.csv")
    assert pd.read_csv(tmp_path / "checks.csv").query("check != @GAP")["holds"].all()
    iterations = 256 if "≤" in name else 16
    damage(pd.read_csv(tmp_path / file, dtype={"id": str, "patient": str})).to_csv(tmp_path / file, index=False)
    with pytest.raises(StudyError, match=f"does not hold that .*{re.escape(name)}"):
        check(results, tmp_path, tmp_path / "again.csv", iterations)
    assert not (tmp_path / "again.csv").exists()


def test_every_check_of_the_study_has_a_fault_above(results):
    names = list(pd.read_csv(results / "checks/checks.csv")["check"])
    assert {name for name in names if "edge" not in name} - {GAP} == {name for name, *_ in FAULTS if "≤" not in name}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("every method on every test image", lambda t: t.iloc[1:]),
        ("all numbers are finite", lambda t: t.assign(psnr=np.inf)),
        ("all numbers are finite", lambda t: t.assign(relative_gap=np.nan)),
        ("no negative gap beyond rounding", lambda t: t.assign(relative_gap=-1e-3)),
    ],
)
def test_maps_of_variants_without_a_study_of_their_own_are_checked_too(results, tmp_path, name, damage):
    copied(results, tmp_path)
    (tmp_path / "metrics").mkdir()
    maps = pd.read_csv(results / "tables/per_image.csv", dtype={"id": str}).query("method == 'map'")
    for protocol in ("fixed0.5", "uniform"):
        maps[maps["protocol"] == protocol].to_csv(tmp_path / f"metrics/map_{protocol}_0.csv", index=False)
    check(results, tmp_path, tmp_path / "checks.csv")
    rows = pd.read_csv(tmp_path / "checks.csv").set_index("check")
    assert rows.loc["every method on every test image", "number"] == 4 * 2 * (5 + 1)
    damage(pd.read_csv(tmp_path / "metrics/map_uniform_0.csv")).to_csv(tmp_path / "metrics/map_uniform_0.csv")
    with pytest.raises(StudyError, match=f"does not hold that .*{name}"):
        check(results, tmp_path, tmp_path / "checks.csv")


def test_a_large_gap_is_said_and_stops_only_a_study_of_x_rays(results, tmp_path):
    """How small it is after T steps depends on the images; a λ above 0.1, and a rival's, do not count."""
    copied(results, tmp_path)
    table = pd.read_csv(results / "tables/per_image.csv", dtype={"id": str})
    fixed = table["method"] == "scalar-fixed"
    for weight, gap, holds in ((0.1, 0.0011, False), (0.1, 0.0009, True), (0.11, 0.0011, True)):
        changed = table.assign(weight_mean=table["weight_mean"].where(~fixed, weight))
        changed["relative_gap"] = changed["relative_gap"].clip(upper=1e-4).where(~fixed, gap)
        changed["gap"] = 0.0  # for the check before, the distance to the minimiser
        changed.to_csv(tmp_path / "tables/per_image.csv", index=False)
        check(results, tmp_path, tmp_path / "checks.csv")
        row = pd.read_csv(tmp_path / "checks.csv").iloc[-1]
        assert (row["check"], row["holds"]) == (GAP, holds)
        assert row["number"] == pytest.approx(gap if weight == 0.1 else 1e-4)
        refuses = pytest.raises(StudyError, match=f"does not hold that {GAP}")
        with contextlib.nullcontext() if holds else refuses:
            check(results, tmp_path, tmp_path / "checks.csv", 256, x_rays=True)


def test_a_large_gap_of_a_rival_is_said_and_stops_nothing(results, tmp_path):
    copied(results, tmp_path)
    table = pd.read_csv(results / "tables/per_image.csv", dtype={"id": str})
    of_rival = table["method"] == "scalar-oracle-ssim"
    assert of_rival.any()
    table["method"] = table["method"].where(~of_rival, "scalar-discrepancy")
    table["weight_mean"] = table["weight_mean"].where(~of_rival, 0.1)
    table["gap"], table["relative_gap"] = 0.0, table["relative_gap"].clip(upper=1e-4).where(~of_rival, 0.002)
    table.to_csv(tmp_path / "tables/per_image.csv", index=False)
    check(results, tmp_path, tmp_path / "checks.csv", 256, x_rays=True)
    rows = pd.read_csv(tmp_path / "checks.csv").set_index("check")
    assert rows.loc[GAP].tolist() == [True, 1e-4] and rows.loc[OF_RIVALS].tolist() == [False, 0.002]


def test_the_grid_of_the_training_images_is_checked_where_rivals_learn_from_it(results, tmp_path):
    copied(results, tmp_path)
    manifest = pd.read_csv(results / "manifest.csv", dtype={"id": str}).query("split == 'train'")
    (val,) = (results / "grid").glob("val_fixed*_0.csv")
    curve = pd.read_csv(val, dtype={"id": str}).query("id == id.iloc[0]")
    grid = pd.concat([curve.assign(id=name) for name in manifest["id"]])
    for protocol in ("fixed", "uniform"):
        grid.to_csv(tmp_path / f"grid/train_{protocol}_0.csv", index=False)
    check(results, tmp_path, tmp_path / "checks.csv")
    rows = pd.read_csv(tmp_path / "checks.csv").set_index("check")
    assert rows.loc["the grid covers every train image"].tolist() == [True, 2 * len(manifest)]
    grid.iloc[1:].to_csv(tmp_path / "grid/train_fixed_0.csv", index=False)
    with pytest.raises(StudyError, match="does not hold that 5 rows and weights an image on the grid"):
        check(results, tmp_path, tmp_path / "checks.csv")


def test_provenance_says_everything_but_where_the_images_lie(results, tmp_path, caplog):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["data"] |= {"source": "archive", "archive": "/home/somebody/images.zip", "folder": "/home/somebody/folder"}
    config["variants"] = {"given": {"network": {"weights": "/home/somebody/best.safetensors"}}}
    rows = [
        ("train", "fast; slow", "python 3.11, torch 2.12.0", "T1", "T3"),
        ("select", *[None] * 4),
        ("measure", "slow", "python 3.11, torch 2.12.0; python 3.11, torch 2.13.0", "T2", "T4"),
    ]
    pd.DataFrame(rows, columns=["step", *tabular.WHERE]).to_csv(tmp_path / "times.csv", index=False)
    config["network"]["weights_direct"] = "/home/somebody/direct.safetensors"
    (tmp_path / "direct").write_bytes(b"weights")
    model = results / "model/training.json"
    trainings = {"training": (model, None), "training_direct": (model, tmp_path / "direct")}
    sources = results / "manifest.csv", trainings, tmp_path / "times.csv"
    write_provenance.main(*sources, tmp_path / "provenance.json", config, {"scripts": "abc"})
    text = (tmp_path / "provenance.json").read_text()
    found = json.loads(text)
    assert "somebody" not in text
    assert found["config"]["data"]["archive"] == "images.zip" and config["data"]["archive"].startswith("/home")
    assert found["data"]["n"] == {"train": 6, "val": 2, "test": 4} and found["data"]["source"] == "archive"
    assert found["versions"] == {"python": "3.11", "torch": "2.12.0 and 2.13.0"}
    assert "steps ran with several versions of torch (2.12.0, 2.13.0)" in caplog.text
    assert set(found["training"]) >= {"epochs", "reported", "best_epoch", "seconds", "fingerprint", "code_version"}
    direct, digest = found["training_direct"], hashlib.sha256(b"weights").hexdigest()
    assert direct.pop("weights_sha256") == digest and direct | {"reported": "last"} == found["training"]
    assert found["config"]["network"]["weights_direct"] == "direct.safetensors"
    assert found["machines"] == {"fast": ["train"], "slow": ["train", "measure"]}
    assert found["times"] == {"start": "T1", "end": "T4"} and found["code"] == {"scripts": "abc"}
