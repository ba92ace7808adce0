"""The figures: every script draws from small tables, the same bytes each time, and what it draws is in the tables."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import pytest
from matplotlib import image, rcParams
from matplotlib.colors import to_rgb

import draw_boxes
import draw_convolution
import draw_differences
import draw_examples
import draw_failures
import draw_grid
import draw_maps
import draw_training
import draw_tuning
import draw_unrolling
import redraw_figures
from tvmap import architecture, dissertation, figures, plotting, stacks, tabular
from tvmap.errors import StudyError
from tvmap.methods import LABELS, METHODS, protocol_label

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
CONFIG = {
    "noise": {"kind": "relative", "protocols": {"fixed0.5": 0.5, "uniform": [0.1, 0.5]}},
    "solver": {"iterations": 256},
    "training": {"iterations": 64, "report": "last"},
    "data": {"size": 16},
    "network": {"up_bound": 0, "padding": 0},
}
WEIGHTS = np.linspace(0, 0.8, 17)
N_FIGURES = 18


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study's folder with tables of six images, two draws and two protocols, and examples of 16 × 16 pixels."""
    return write_study(tmp_path_factory.mktemp("study"), n_images=6, draws=(0, 1))


def write_study(folder, n_images, draws):
    generator = np.random.default_rng(0)
    metrics, grid, choice, examples = [], [], [], []
    (folder / "tables").mkdir()
    (folder / "examples").mkdir()
    for protocol in CONFIG["noise"]["protocols"]:
        for draw in draws:
            for number in range(n_images):
                key = {"protocol": protocol, "draw": draw, "id": f"00{number}"}  # looks like a number, must stay text
                best = generator.uniform(0.1, 0.3, 2)
                psnr = 30 - 10 * np.abs(WEIGHTS - best[0]) + generator.normal(0, 0.01, WEIGHTS.size)
                ssim = 0.8 - 0.3 * np.abs(WEIGHTS - best[1])
                grid += [
                    {**key, "weight": w, "psnr": p, "ssim": s} for w, p, s in zip(WEIGHTS, psnr, ssim, strict=True)
                ]
                optima = WEIGHTS[psnr.argmax()], WEIGHTS[ssim.argmax()]
                choice.append({**key, "weight_fixed": WEIGHTS[3], "weight_psnr": optima[0], "weight_ssim": optima[1]})
                for method, column in zip(METHODS, (0, 3, psnr.argmax(), ssim.argmax(), None), strict=True):
                    # the map gains 1 dB on every image but the last, which loses 0.5 dB
                    gain = 1.0 if number < n_images - 1 else -0.5
                    values = (
                        (psnr.max() + gain, ssim.max() + gain / 50) if column is None else (psnr[column], ssim[column])
                    )
                    metrics.append({**key, "method": method, "psnr": values[0], "ssim": values[1], "weight_mean": 0.1})
        arrays = {name: generator.random((3, 16, 16)).astype("f4") for name in ("clean", "noisy", "scalar", "map")}
        kinds, ids = ["median", "best", "worst"], [f"00{min(number, n_images - 1)}" for number in range(3)]
        arrays |= {"maps": 0.1 * generator.random((3, 1, 16, 16)).astype("f4"), "map_names": ["Λ"]}
        np.savez(folder / "examples" / f"{protocol}.npz", ids=ids, kinds=kinds, **arrays)
        columns = {"noise_level": 0.5, "gain_db": 1.0, "psnr_noisy": 20.0, "psnr_scalar": 30.0, "psnr_map": 31.0}
        examples += [
            {"protocol": protocol, "kind": kind, "id": name, **columns, "weight_scalar": 0.07}
            for kind, name in zip(kinds, ids, strict=True)
        ]
    epochs = np.arange(1, 6)
    history = {"epoch": epochs, "learning_rate": 1e-4, "train_loss": 1 / epochs, "val_loss": 1.5 / epochs}
    history |= {"val_psnr": [20, 24, 30, 27, 26], "val_ssim": [0.5, np.nan, 0.7, 0.8, 0.8]}
    times = {"step": ["train", "solve_grid"], "jobs": [1, 4], "seconds": [7200.0, 3.0], "max_rss_mib": [900.0, np.nan]}
    course = [
        {"protocol": protocol, "method": method, "dual_start": start, "iterations": 2**k, "psnr": 20 + k}
        for protocol in CONFIG["noise"]["protocols"]
        for method in ("scalar-fixed", "map")
        for start in ("zero", "image")
        for k in range(6)
    ]
    learned = [
        {
            "map": "Λ",
            "protocol": protocol,
            "noise_std": std,
            "detail": 0.01 * k,
            "weight_low": 0.1,
            "weight": 0.2,
            "weight_high": 0.3,
        }
        for protocol in CONFIG["noise"]["protocols"]
        for std in (0.1, 0.2)
        for k in range(1, 5)
    ]
    failures = [
        {"protocol": protocol, "method": method, "bin": k, "detail": 0.01 * k, "mse": 0.001 * factor * k, "n": 5}
        for protocol in CONFIG["noise"]["protocols"]
        for method, factor in (("scalar-oracle-psnr", 2), ("map", 1))
        for k in range(1, 5)
    ]
    contrasts = [
        {"protocol": protocol, "draw": 0, "id": f"00{number}", "contrast": 0.2, "noise_std": 0.01 * (number + 1)}
        for protocol in CONFIG["noise"]["protocols"]
        for number in range(n_images)
    ]
    courses = [{"variant": "", "epoch": k, "minutes": 2 * k, "val_psnr": 30 + k, "val_gain": k - 2} for k in (1, 2, 3)]
    by_level = [
        {
            "protocol": "uniform",
            "group": k,
            "baseline": name,
            "level_low": 0.1 * k,
            "level_high": 0.1 * k + 0.05,
            "n": 5,
        }
        | {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "win_rate": 1.0}
        for k in (1, 2, 3)
        for name, mean in (("noisy", 9), ("bm3d", k - 2), ("bm3d-blind", 0.1), ("nlm-blind", 1), ("map-oracle", -3))
    ]
    for row in course:
        row["relative_gap"] = 2.0 ** -row["iterations"]
    tables = {
        "convergence": course,
        "learned": learned,
        "failures": failures,
        "contrasts": contrasts,
        "courses": courses,
        "by_level": by_level,
        "per_image": metrics,
        "grid": grid,
        "scalar_choice": choice,
        "examples": examples,
    }
    for name, rows in (tables | {"training_history": history, "times": times}).items():
        pd.DataFrame(rows).to_csv(folder / "tables" / f"{name}.csv", index=False)
    (folder / "provenance.json").write_text(json.dumps({"config": CONFIG}))
    return folder


@pytest.fixture(scope="module")
def drawn(study, tmp_path_factory):
    output = tmp_path_factory.mktemp("drawn")
    assert redraw_figures.main(study, output) == list(figures.figures(CONFIG))
    return output


@pytest.fixture
def paths(tmp_path):
    return {"png_path": tmp_path / "a.png", "pdf_path": tmp_path / "a.pdf"}


def edited(study, tmp_path, name, edit):
    """Return the path of a copy of the table `name` changed by `edit`."""
    path = tmp_path / f"{name}.csv"
    edit(pd.read_csv(study / "tables" / f"{name}.csv", dtype={"id": str})).to_csv(path, index=False)
    return path


def test_every_figure_is_a_png_of_the_stated_width_and_a_pdf(drawn):
    names = {path.stem if path.suffix == ".png" else path.name.removesuffix(".pdf") for path in drawn.iterdir()}
    assert len(names) == N_FIGURES and len(list(drawn.iterdir())) == 2 * N_FIGURES
    for name in names:
        pixels = image.imread(drawn / f"{name}.png")
        assert pixels.shape[1] == 200 * plotting.FULL and pixels[..., :3].std() > 0.02
        pdf = (drawn / f"{name}.pdf").read_bytes()
        assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF") and b"CreationDate" not in pdf


def test_figures_4_to_6_are_drawn_for_every_protocol(drawn):
    for kind in ("figure4_examples", "figure5_maps", "figure6_grid"):
        assert sorted(path.name for path in drawn.glob(f"{kind}*.png")) == [
            f"{kind}_fixed0.5.png",
            f"{kind}_uniform.png",
        ]


def test_from_tables_alone_without_torch_to_the_same_bytes(study, drawn, tmp_path):
    """The published copy has no pixels; a new process in which torch cannot be imported draws the rest identically."""
    copy = tmp_path / "copy"
    (copy / "tables").mkdir(parents=True)
    for path in [study / "provenance.json", *(study / "tables").iterdir()]:
        (copy / path.relative_to(study)).write_bytes(path.read_bytes())
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for name in ("torch", "skimage", "numba"):
        (blocked / f"{name}.py").write_text(f"raise ImportError('{name} is not for figures')")
    environment = os.environ | {"PYTHONPATH": str(blocked)}
    assert subprocess.run([sys.executable, "-c", "import torch"], env=environment, capture_output=True).returncode == 1
    command = [sys.executable, SCRIPTS / "redraw_figures.py", copy]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    left_out = [line for line in done.stdout.splitlines() if "left out" in line]
    assert len(left_out) == 4 and "examples/uniform.npz is not in" in left_out[1]
    written = sorted((copy / "figures").iterdir())
    assert len(written) == 2 * (N_FIGURES - 4)
    for path in written:
        assert path.read_bytes() == (drawn / path.name).read_bytes(), path.name


def test_pixels_give_the_same_bytes_twice(study, drawn, paths):
    wanted = figures.figures(CONFIG)["figure4_examples_uniform"]
    draw_examples.main(**{name: study / path for name, path in wanted.inputs.items()}, **paths, **wanted.settings)
    for suffix in ("png", "pdf"):
        assert paths[f"{suffix}_path"].read_bytes() == (drawn / f"figure4_examples_uniform.{suffix}").read_bytes()


def test_no_folder_ends_in_one_line(tmp_path):
    command = [sys.executable, SCRIPTS / "redraw_figures.py", tmp_path / "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "provenance.json" in done.stderr


@pytest.mark.parametrize(
    "figure, argument, column",
    [
        ("figure4_examples_uniform", "examples_path", "gain_db"),
        ("figure5_maps_uniform", "examples_path", "weight_scalar"),
        ("figure6_grid_uniform", "grid_path", "ssim"),
        ("figure6_grid_uniform", "choice_path", "weight_fixed"),
        ("figure7_boxes", "metrics_path", "psnr"),
        ("figure8_differences", "metrics_path", "method"),
        ("training", "history_path", "learning_rate"),
        ("times", "times_path", "seconds"),
    ],
)
def test_a_missing_column_names_file_and_column(study, tmp_path, paths, figure, argument, column):
    wanted = figures.figures(CONFIG)[figure]
    inputs = {name: study / path for name, path in wanted.inputs.items()}
    inputs[argument] = edited(study, tmp_path, Path(inputs[argument]).stem, lambda table: table.drop(columns=column))
    draw = importlib.import_module(wanted.script).main
    with pytest.raises(StudyError, match=rf"{inputs[argument].name}: column {column} is missing") as error:
        draw(**inputs, **paths, **wanted.settings)
    assert "\n" not in str(error.value) and not paths["png_path"].exists()


def test_empty_cells_empty_tables_and_unreadable_tables_are_named(study, tmp_path):
    path = edited(study, tmp_path, "times", lambda table: table.assign(seconds=np.nan))
    with pytest.raises(StudyError, match="times.csv: column seconds has empty cells"):
        tabular.read_table(path, ["step", "seconds"])
    path = edited(study, tmp_path, "times", lambda table: table[:0])
    with pytest.raises(StudyError, match="times.csv: the table has no row"):
        tabular.read_table(path, ["step"])
    path.write_bytes(b"")
    with pytest.raises(StudyError, match="times.csv: not a readable CSV table"):
        tabular.read_table(path, ["step"])


@pytest.mark.parametrize("chosen, found", [(["False", "False"], 0), (["True", "True"], 2), (["yes", "Tru"], 0)])
def test_of_candidates_one_is_chosen(tmp_path, chosen, found):
    path = tmp_path / "wavelet.csv"
    path.write_text("strength,chosen\n1.0,False\n1.1,True\n")
    assert tabular.chosen_row(tabular.read_table(path, ["strength", "chosen"]), path)["strength"] == 1.1
    path.write_text("".join(["strength,chosen\n", *(f"1.0,{cell}\n" for cell in chosen)]))
    with pytest.raises(StudyError, match=f"wavelet.csv: {found} rows are chosen, not one; delete the file"):
        tabular.chosen_row(tabular.read_table(path, ["strength", "chosen"]), path)


def test_examples_with_nan_or_of_another_run_are_refused(study, tmp_path, paths):
    with np.load(study / "examples" / "uniform.npz") as file:
        arrays = dict(file)
    changed = {"ids": np.array(["x", "y", "z"]), "map": np.full((3, 16, 16), np.nan)}
    for name, message in (("ids", "image 000 .median. is not in it"), ("map", "array map holds values")):
        path = tmp_path / f"{name}.npz"
        np.savez(path, **(arrays | {name: changed[name]}))
        with pytest.raises(StudyError, match=message):
            draw_examples.main(study / "tables" / "examples.csv", path, **paths, protocol="uniform", level=0.5)


def test_convolution_and_pooling_agree_with_loops():
    image, kernel = draw_convolution.IMAGE, np.arange(9).reshape(3, 3)  # not symmetric: a flip would show
    padded = np.pad(image, 1)
    for row, column in np.ndindex(4, 4):
        value = sum(kernel[a, b] * padded[row + a, column + b] for a, b in np.ndindex(3, 3))
        assert draw_convolution.convolve(image, kernel)[row, column] == value
    for row, column in np.ndindex(2, 2):
        block = image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert draw_convolution.pool(image)[row, column] == block.max()


def test_figure_2_states_the_number_it_shows(paths):
    texts = [text.get_text() for text in draw_convolution.main(**paths).axes[0].texts]
    value = draw_convolution.convolve(draw_convolution.IMAGE, draw_convolution.KERNEL)[draw_convolution.WINDOW]
    sums = [text for text in texts if text.startswith("orange entry")]
    assert len(sums) == 1 and sums[0].endswith(f"= {value}")


def test_figure_3_counts_of_channels_give_the_parameters():
    """The number printed in the drawing follows from the channels and operations that the drawing shows."""
    half = len(architecture.CHANNELS) // 2
    n = lambda n_in, n_out, side: n_out * (n_in * side**2 + 1)  # noqa: E731
    total, last = 0, architecture.CHANNELS[0]
    for here in architecture.CHANNELS[1 : half + 1]:
        total, last = total + n(last, here, 3) + n(here, here, 3), here
    for here in architecture.CHANNELS[half + 1 : -1]:
        total, last = total + n(last, here, 1) + n(2 * here, here, 3) + n(here, here, 3), here
    assert total + n(last, architecture.CHANNELS[-1], 1) == architecture.N_PARAMETERS


def test_figure_4_shows_the_table_and_a_fixed_grey_range(study, paths):
    wanted = figures.figures(CONFIG)["figure4_examples_uniform"]
    figure = draw_examples.main(
        **{name: study / path for name, path in wanted.inputs.items()}, **paths, **wanted.settings
    )
    panels = figure.axes[:12]
    assert [panel.get_xlabel() for panel in panels[1:4]] == ["20.00 dB", "30.00 dB, λ = 0.07", "31.00 dB (+1.00 dB)"]
    assert [panel.get_ylabel() for panel in panels[::4]] == ["median gain", "best gain", "worst gain"]
    assert {panel.images[0].get_clim() for panel in panels} == {(0, 1)}


def test_figure_5_shows_each_map_and_the_oracle_beside_weights_of_the_gradient_only(study, tmp_path, paths):
    wanted = figures.figures(CONFIG)["figure5_maps_uniform"]
    inputs = {name: study / path for name, path in wanted.inputs.items()}
    figure = draw_maps.main(**inputs, **paths, **wanted.settings)
    names = lambda figure: [panel.get_xlabel() for panel in figure.axes if panel.get_xlabel()]  # noqa: E731
    assert names(figure) == ["Λ (grey value)", "log₁₀ Λ"]

    weight = np.random.default_rng(1).uniform(0.1, 1, (3, 2, 16, 16)).astype("f4")
    maps = stacks.single_maps({"weight": weight, "penalty": np.array("tgv")})
    with np.load(inputs["pixels_path"]) as file:
        arrays = dict(file) | {"map_names": np.array(list(maps)), "maps": np.stack(list(maps.values()), axis=1)}
    np.savez(tmp_path / "two.npz", **arrays)
    figure = draw_maps.main(**inputs | {"pixels_path": tmp_path / "two.npz"}, **paths, **wanted.settings)
    assert names(figure) == ["Λ₁ (grey value)", "log₁₀ Λ₁", "Λ₀ (grey value)", "log₁₀ Λ₀"]
    panels = [panel for panel in figure.axes if panel.get_xlabel()]
    assert [len(panel.get_lines()) for panel in panels] == [1, 1, 0, 0]
    pictures = [panel.images[0].get_array() for panel in figure.axes if panel.images]
    assert np.array_equal(pictures[0], weight[0, 0]) and np.array_equal(pictures[2], weight[0, 1])
    two = stacks.single_maps({"weight": weight})
    assert list(two) == ["Λ of vertical differences", "Λ of horizontal differences"]
    assert np.array_equal(two["Λ of horizontal differences"], weight[:, 1])


def test_figure_6_marks_the_optimum_of_the_table(study, paths):
    wanted = figures.figures(CONFIG)["figure6_grid_uniform"]
    figure = draw_grid.main(**{name: study / path for name, path in wanted.inputs.items()}, **paths, **wanted.settings)
    grid = pd.read_csv(study / "tables" / "grid.csv", dtype={"id": str})
    grid = grid[(grid["protocol"] == "uniform") & (grid["draw"] == 0) & (grid["id"] == "000")]
    metrics = pd.read_csv(study / "tables" / "per_image.csv", dtype={"id": str})
    maps = metrics.query("protocol == 'uniform' and draw == 0 and method == 'map'")
    for panel, metric, method in zip(figure.axes[:2], ("psnr", "ssim"), METHODS[2:4], strict=True):
        lines = {line.get_label(): line for line in panel.get_lines()}
        best = grid.loc[grid[metric].idxmax()]
        assert lines[LABELS[method]].get_xydata() == pytest.approx(best[["weight", metric]].to_numpy(float)[None])
        assert lines["map Λ, mean of images"].get_ydata()[0] == pytest.approx(maps[metric].mean())
        assert lines[LABELS["scalar-fixed"]].get_xdata()[0] == pytest.approx(WEIGHTS[3])
    assert [panel.get_ylabel() for panel in figure.axes[:2]] == ["PSNR (dB)", "SSIM"]


def test_figure_6_refuses_a_choice_that_is_not_on_the_grid(study, tmp_path, paths):
    wanted = figures.figures(CONFIG)["figure6_grid_uniform"]
    inputs = {name: study / path for name, path in wanted.inputs.items()}
    inputs["grid_path"] = edited(study, tmp_path, "grid", lambda table: table[table["weight"] > 0.2])
    with pytest.raises(StudyError, match="grid.csv: no row of image 000 at weight"):
        draw_grid.main(**inputs, **paths, **wanted.settings)


def test_figure_7_has_every_denoised_method_in_order(study, paths):
    figure = draw_boxes.main(study / "tables" / "per_image.csv", **paths, protocols=CONFIG["noise"]["protocols"])
    left = figure.axes[0]
    assert [text.get_text() for text in left.get_yticklabels()] == [LABELS[method] for method in METHODS[1:]]
    table = pd.read_csv(study / "tables" / "per_image.csv", dtype={"id": str})
    table = table[(table["protocol"] == "fixed0.5") & (table["method"] == "map")]
    points = left.collections[-1].get_offsets()[:, 0]  # draws averaged: one point an image
    assert sorted(points) == pytest.approx(sorted(table.groupby("id")["psnr"].mean()))
    assert figure.axes[2].get_xlabel() == "PSNR (dB)" and left.get_title(loc="left") == "noise level 0.5 (n = 6)"


def test_figure_8_states_mean_and_share_of_paired_differences(study, paths):
    figure = draw_differences.main(study / "tables" / "per_image.csv", **paths, protocols=CONFIG["noise"]["protocols"])
    panels = [panel for part in figure.subfigs for panel in part.axes]
    assert len(panels) == 8
    oracle = [panel for panel in panels if panel.get_title() == f"map − {LABELS['scalar-oracle-psnr']}"]
    assert [panel.texts[0].get_text() for panel in oracle] == ["mean +0.75 dB, 5 of 6 images improved"] * 2
    for panel in panels:
        assert sum(bar.get_height() for bar in panel.patches) == 6  # no image falls outside the bins
        assert min(abs(bar.get_x()) for bar in panel.patches) < 1e-12  # zero is an edge: gains and losses never mix


@pytest.mark.parametrize("report, epoch", [("last", 5), ("best", 3)])
def test_training_marks_the_reported_epoch(study, paths, report, epoch):
    figure = draw_training.main(study / "tables" / "training_history.csv", **paths, report=report)
    assert f"epoch {epoch} ({report})" in figure.axes[2].texts[0].get_text()
    for panel in figure.axes:
        assert panel.get_lines()[-1].get_xdata()[0] == epoch and panel.get_ylabel()
    assert list(figure.axes[3].get_lines()[0].get_xdata()) == [1, 3, 4, 5]  # epoch 2 has no SSIM


def test_a_study_of_one_image_and_one_draw_is_drawn(tmp_path):
    folder = write_study(tmp_path, n_images=1, draws=(0,))
    assert len(redraw_figures.main(folder)) == N_FIGURES


def test_protocol_labels():
    assert protocol_label(0.5) == "noise level 0.5"
    assert protocol_label([0.1, 0.5]) == "noise level from U[0.1, 0.5]"
    assert list(plotting.COLOURS) == list(LABELS) and set(METHODS) < set(LABELS)


def test_levels_are_drawn_for_studies_with_three_of_them(tmp_path):
    import draw_levels

    random = np.random.default_rng(5)
    protocols = {"low": 0.1, "mid": 0.3, "high": 0.5, "all": [0.1, 0.5]}
    methods = ("noisy", "scalar-fixed", "bm3d", "map")
    rows = [
        {"protocol": p, "method": m} | {f"psnr_{part}": random.uniform(20, 40) for part in ("mean", "low", "high")}
        for p in protocols
        for m in methods
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "summary.csv", index=False)
    rows = [
        {"protocol": p, "baseline": m, "metric": "psnr"} | {k: random.normal() for k in ("mean", "low", "high")}
        for p in protocols
        for m in methods[:-1]
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "gains.csv", index=False)
    paths = [tmp_path / name for name in ("summary.csv", "gains.csv", "a.png", "a.pdf")]
    left, right = draw_levels.main(*paths, protocols, "psnr").axes
    assert [len(panel.lines) for panel in (left, right)] == [4, 3]  # right: two methods and the line at 0
    assert all(len(line.get_xdata()) == 3 for line in left.lines)
    assert left.get_ylabel() == "mean PSNR (dB)"
    looks = {str(sorted(draw_levels.style(name, [*LABELS]).items())) for name in LABELS}
    assert len(looks) == len(LABELS), "no two methods look the same"

    assert not any(name.startswith("levels") for name in figures.figures(CONFIG))
    found = figures.figures(CONFIG | {"noise": {"kind": "relative", "protocols": protocols}})
    assert found["levels_ssim"].settings == {"protocols": protocols, "metric": "ssim"} and "levels_psnr" in found


def test_strongest_rivals_are_drawn_over_the_noise_level(study, paths):
    import draw_by_level

    protocols = CONFIG["noise"]["protocols"]
    (panel,) = draw_by_level.main(study / "tables/by_level.csv", **paths, protocols=protocols).axes
    shown = [container.get_label() for container in panel.containers]
    assert shown == [
        "non-local means, σ estimated",
        "BM3D",
    ]  # not the noisy image, the oracle map, BM3D that knows less
    (line, *_) = panel.containers[1]
    assert line.get_xdata() == pytest.approx([0.125, 0.225, 0.325]) and list(line.get_ydata()) == [-1, 0, 1]
    one_level = CONFIG | {"noise": {"kind": "relative", "protocols": {"fixed0.5": 0.5}}}
    assert "by_level" in figures.figures(CONFIG) and "by_level" not in figures.figures(one_level)


def test_colours_are_those_of_seaborn():
    import seaborn as sns

    for count in (1, 2, 5):
        np.testing.assert_allclose(plotting.shades(count), sns.color_palette("viridis", count + 1)[:count])
    for name, ours in (("deep", plotting.CYCLE), ("colorblind", plotting.COLOUR_BLIND)):
        np.testing.assert_allclose([to_rgb(colour) for colour in ours], sns.color_palette(name))
    for key, value in sns.axes_style("ticks").items():
        if key.endswith("color") and isinstance(value, str) and to_rgb(value)[0] < 0.9:
            np.testing.assert_allclose(to_rgb(rcParams[key]), to_rgb(value), atol=1 / 255, err_msg=key)


PUBLISHED_GAIN = "published gain, +1.30 dB"


def test_variants_and_courses_are_drawn(tmp_path):
    import draw_courses
    import draw_variants

    rows = [
        {"variant": v, "protocol": p, "metric": m, "gain": g, "gain_low": g - 1, "gain_high": g + 1}
        for p in ("low", "other")
        for v, g in (("", 1.0), ("short", 0.5))
        for m in ("psnr", "ssim")
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "variants.csv", index=False)
    figure = draw_variants.main(tmp_path / "variants.csv", tmp_path / "a.png", tmp_path / "a.pdf", {"low": 0.1})
    assert [panel.get_title("left") for panel in figure.axes] == ["noise level 0.1", "", "other", ""]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["the study", "short"]

    text = "variant,epoch,minutes,val_psnr,val_gain\n,1,2,30,0.5\n,2,4,31,1.5\nshort,1,1,29,-0.5\nshort,2,2,30,0.5\n"
    (tmp_path / "courses.csv").write_text(text)
    figure = draw_courses.main(tmp_path / "courses.csv", tmp_path / "b.png", tmp_path / "b.pdf")
    panel = figure.axes[0]
    assert [text.get_text() for text in panel.get_legend().texts] == ["the study", PUBLISHED_GAIN, "short"]
    assert panel.lines[0].get_xdata().tolist() == [2, 4] and panel.lines[0].get_ydata().tolist() == [0.5, 1.5]
    assert panel.lines[-1].get_ydata() == [dissertation.GAIN] * 2 and panel.lines[-1].get_label() == PUBLISHED_GAIN


def test_the_legend_says_which_courses_lie_below_the_figure(tmp_path):
    import draw_courses

    rows = [
        (f"variant-{k}", epoch, epoch, 30.0, -3 + epoch / 10 if k == 4 else k / 10)
        for k in range(26)
        for epoch in (1, 2)
    ]
    columns = ["variant", "epoch", "minutes", "val_psnr", "val_gain"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "courses.csv", index=False)
    panel = draw_courses.main(tmp_path / "courses.csv", tmp_path / "b.png", tmp_path / "b.pdf").axes[0]
    below = [text.get_text() for text in panel.get_legend().texts if "below" in text.get_text()]
    assert below == ["variant-4 (below: −2.80)"] and panel.get_ylim()[0] > -2.8


def test_the_legend_of_many_courses_lies_within_the_figure(tmp_path):
    import draw_courses

    rows = [(f"variant-{k}", epoch, epoch, 30.0, k / 10) for k in range(26) for epoch in (1, 2)]
    columns = ["variant", "epoch", "minutes", "val_psnr", "val_gain"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "courses.csv", index=False)
    figure = draw_courses.main(tmp_path / "courses.csv", tmp_path / "b.png", tmp_path / "b.pdf")
    legend = figure.axes[0].get_legend()
    names = [text.get_text().split(" (")[0] for text in legend.texts]
    trained = [f"variant-{k}" for k in range(25, -1, -1)]  # the best first, from 2.5 dB on
    assert names == [*trained[:13], PUBLISHED_GAIN, *trained[13:]]
    box = legend.get_window_extent()
    assert box.y0 >= 0 and box.y1 <= figure.bbox.height and box.x1 <= figure.bbox.width


def test_failures_mark_the_smallest_gains_and_who_is_better(study, paths):
    wanted = figures.figures(CONFIG)["failures"]
    inputs = {name: study / path for name, path in wanted.inputs.items()}
    figure = draw_failures.main(**inputs, **paths, **wanted.settings)
    left, right = figure.axes[:2]
    oracle, learned = (line.get_ydata().tolist() for line in left.lines)
    assert (oracle, learned) == ([0.002, 0.004, 0.006, 0.008], [0.001, 0.002, 0.003, 0.004])
    better, worse = left.collections
    assert len(better.get_paths()) == 1 and not worse.get_paths()  # all the area has the map's colour
    points = right.lines[1]
    assert len(points.get_xdata()) == 6 and points.get_ydata().tolist() == pytest.approx([1] * 5 + [-0.5])
    assert [text.get_text() for text in right.get_legend().texts][0] == "1: 005 (−0.50 dB)"
    assert (right.lines[2].get_xdata(), right.lines[2].get_ydata()) == ([0.06], pytest.approx([-0.5]))


def tuning_tables(folder):
    """Tables of two protocols: strengths of two methods, one without σ, too, two λ, two models, two rules."""
    rows = [
        {"protocol": p, "method": m, "candidate": c, "psnr": 30 + k, "chosen": k == 2}
        for m in ("nlm", "nlm-blind", "scalar-train")
        for p in ("fixed0.5", "uniform")
        for k, c in enumerate((0.5, 0.7, 0.9))
    ]
    rows += [
        {
            "protocol": p,
            "method": "tgv",
            "candidate": c,
            "second": r,
            "psnr": 31 + r - c,
            "chosen": (c, r) == (0.8, 0.5),
        }
        for p in ("fixed0.5", "uniform")
        for c in (0.8, 1.0)
        for r in (0.25, 0.5)
    ]
    rows += [
        {"protocol": p, "method": "scalar-features", "candidate": c, "error": error, "chosen": error == 0.1}
        for p in ("fixed0.5", "uniform")
        for c, error in (("ridge, penalty 1", 0.1), ("random forest", 0.2))
    ]
    pd.DataFrame(rows).to_csv(folder / "tuning.csv", index=False)
    weights = {"scalar-oracle-psnr": 0.1, "scalar-sure": 0.12, "scalar-sure-blind": 0.15, "scalar-features": 0.09}
    rows = [
        {"protocol": p, "draw": 0, "id": f"00{k}", "method": m, "psnr": 30, "weight_mean": w * (1 + k)}
        for m, w in (weights | {"nlm": np.nan}).items()
        for p in ("fixed0.5", "uniform")
        for k in range(4)
    ]
    pd.DataFrame(rows).to_csv(folder / "per_image.csv", index=False)
    return folder / "tuning.csv", folder / "per_image.csv"


SECOND = "TGV, second order"


def test_tuning_has_a_panel_for_each_rival(tmp_path, paths):
    baselines = ["tgv", "nlm", "nlm-blind", "scalar-train", "scalar-features", "scalar-sure", "scalar-sure-blind"]
    baselines.append("unet-direct")
    wanted = figures.figures(CONFIG | {"baselines": baselines})["tuning"]
    assert wanted.settings["rivals"] == baselines[:-1] and "tuning" not in figures.figures(CONFIG)
    figure = draw_tuning.main(*tuning_tables(tmp_path), **paths, **wanted.settings)
    panels = {panel.get_title("left"): panel for panel in figure.axes if panel.get_visible()}
    names = ("scalar-train", "tgv", "tgv", "nlm", "scalar-features", "scalar-features", "scalar-sure")
    titles = [LABELS[name] for name in names]
    titles[2], titles[4] = SECOND, draw_tuning.MODELS
    assert [panel.get_title("left") for panel in figure.axes if panel.get_visible()] == titles
    nlm = panels[LABELS["nlm"]]
    assert [line.get_linestyle() for line in nlm.lines[::2]] == ["-", "-", "--", "--"]
    assert all(line.get_xydata().tolist() == [[0.9, 32]] for line in nlm.lines[1::2])  # rings
    curve, ring = panels[LABELS["tgv"]].lines[:2]  # of each strength the better second one
    assert curve.get_xydata().tolist() == [[0.8, 30.7], [1.0, 30.5]] and ring.get_xydata().tolist() == [[0.8, 30.7]]
    curve, ring = panels[SECOND].lines[:2]
    assert curve.get_xdata().tolist() == [0.25, 0.5] and curve.get_ydata().tolist() == [30.45, 30.7]
    assert ring.get_xydata().tolist() == [[0.5, 30.7]]
    models = panels[draw_tuning.MODELS].get_yticklabels()
    assert [text.get_text() for text in models] == ["ridge, penalty 1", "random forest"]
    sure = panels[LABELS["scalar-sure"]].lines[1:]  # the first is the diagonal
    assert len(sure) == 4 and sure[0].get_xdata() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert sure[0].get_ydata() == pytest.approx([0.12, 0.24, 0.36, 0.48])
    assert sure[-1].get_ydata() == pytest.approx([0.15, 0.3, 0.45, 0.6]) and sure[-1].get_markerfacecolor() == "none"


def test_tuning_of_rules_alone_is_drawn(tmp_path, paths):
    tuning, metrics = tuning_tables(tmp_path)
    pd.read_csv(tuning)[:0].to_csv(tuning, index=False)
    figure = draw_tuning.main(tuning, metrics, **paths, protocols=CONFIG["noise"]["protocols"], rivals=["scalar-sure"])
    assert [panel.get_title("left") for panel in figure.axes if panel.get_visible()] == [LABELS["scalar-sure"]]


def test_each_map_of_tgv_has_its_panels(tmp_path, paths):
    import draw_learned

    rows = pd.MultiIndex.from_product([CONFIG["noise"]["protocols"], [0.01, 0.02, 0.03, 0.04]])
    table = pd.DataFrame(list(rows), columns=["protocol", "detail"]).assign(noise_std=0.1)
    table = table.assign(weight_low=0.1, weight=0.2, weight_high=0.3)
    table.assign(map="Λ").to_csv(tmp_path / "one.csv", index=False)
    pd.concat([table.assign(map="Λ₁"), table.assign(map="Λ₀", weight=0.4)]).to_csv(tmp_path / "two.csv", index=False)
    protocols = CONFIG["noise"]["protocols"]
    titles = {}
    for name in ("one", "two"):
        figure = draw_learned.main(tmp_path / f"{name}.csv", **paths, protocols=protocols)
        titles[name] = [panel.get_title(loc="left") for panel in figure.axes if panel.get_visible()]
    assert [title.split(",")[0] for title in titles["one"]] == ["Λ"] * len(protocols)
    assert [title.split(",")[0] for title in titles["two"]] == ["Λ₁", "Λ₀"] * len(protocols)
    assert figure.axes[1].lines[0].get_ydata().tolist() == [0.4] * 4


def test_unrolling_is_drawn_over_the_number_of_iterations(tmp_path, paths):
    rows = [
        {"variant": v, "protocol": p, "metric": m, "gain": g, "gain_low": g - 0.1, "gain_high": g + 0.1}
        for p in ("fixed0.5", "uniform")
        for v, g in (("", 1.5), ("train-8", 1.0), ("T-16", 0.5), ("other", 9))
        for m in ("psnr", "ssim")
    ]
    times = pd.DataFrame({"variant": ["", "train-8", "other"], "milliseconds": [80, 50, 900]})
    times = times.assign(iterations=[64, 8, 64], low=[78, 45, 900], high=[90, 60, 900])
    times.assign(size=4, threads=1, precision="float32", device="a machine").to_csv(tmp_path / "steps.csv", index=False)
    pd.DataFrame(rows).to_csv(tmp_path / "variants.csv", index=False)
    variants = {
        "train-8": {"training": {"iterations": 8}},
        "T-16": {"network": {"weights": "study"}, "solver": {"iterations": 16}},
        "other": {"training": {"epochs": 9}},
    }
    config = CONFIG | {"variants": variants}
    wanted = figures.figures(config)["unrolling"]
    assert wanted.inputs == {"variants_path": "tables/variants.csv", "steps_path": "tables/steps.csv"}
    inputs = {name: tmp_path / Path(path).name for name, path in wanted.inputs.items()}
    figure = draw_unrolling.main(**inputs, **paths, **wanted.settings)
    gain, time, test = figure.axes
    first, second = gain.lines[1::2]  # the one before is the line at 0, those between are the hollow points
    np.testing.assert_allclose(np.sqrt(first.get_xdata() * second.get_xdata()), [8, 64])  # drawn side by side
    assert first.get_ydata().tolist() == [1.0, 1.5] and first.get_xdata()[0] < 8
    assert time.lines[0].get_xydata().tolist() == [[8, 50], [64, 80]]
    assert time.lines[-1].get_xydata().tolist() == [[64, 80]]  # hollow: the study
    bars = [segment[:, 1].tolist() for segment in time.collections[0].get_segments()]
    assert bars == [[45, 60], [78, 90]] and time.get_ylim()[0] == 0
    assert test.lines[1].get_ydata().tolist() == [0.5, 1.5]
    assert [text.get_text() for text in test.get_xticklabels()] == ["16", "256"]
    only = figures.figures(CONFIG | {"variants": {"other": variants["other"]}})
    assert "variants" in only and "unrolling" not in only
    config["variants"] = {"T-16": variants["T-16"]}
    figure = draw_unrolling.main(tmp_path / "variants.csv", **paths, **figures.figures(config)["unrolling"].settings)
    assert len(figure.axes) == 1


def test_every_figure_has_its_own_caption_in_snakemakes_report():
    variants = {"T-8": {"training": {"iterations": 8}}}
    levels = {**CONFIG["noise"]["protocols"], "fixed0.1": 0.1, "fixed0.2": 0.2}
    config = CONFIG | {"variants": variants, "baselines": ["nlm"], "noise": CONFIG["noise"] | {"protocols": levels}}
    path = Path(__file__).parents[1] / "workflow/report/figure.rst"
    template = jinja2.Template(path.read_text(encoding="utf-8"))
    captions = {}
    for name in figures.figures(config):
        kind = name.split("_")[0]  # of all protocols and metrics
        kind = "by_level" if name == "by_level" else kind
        caption = template.render(snakemake={"wildcards": {"figure": name}}).strip()
        assert captions.setdefault(kind, caption) == caption
    assert {"by_level", "times", "levels", "unrolling", "tuning"} <= set(captions) and all(captions.values())
    assert len(set(captions.values())) == len(captions)


def test_courses_are_of_those_that_trained():
    given = CONFIG | {"network": CONFIG["network"] | {"weights": "last.safetensors"}}
    assert "courses" in figures.figures(CONFIG) and "courses" not in figures.figures(given)
    assert "courses" not in figures.figures(given | {"variants": {"T-16": {"solver": {"iterations": 16}}}})
    assert "courses" in figures.figures(given | {"variants": {"anew": {"network": {"weights": None}}}})
