"""The report page: complete, self-contained, true to the tables, with a conclusion that follows the numbers."""

import base64
import io
import json
import math
import re
import shutil
from html.parser import HTMLParser

import numpy
import pandas
import pytest
import yaml
from PIL import Image
from smoke import ROOT

import build_report
from tvmap import comparison, conclusions, explain, findings, formats, looks, page
from tvmap import tables as page_tables
from tvmap.errors import StudyError
from tvmap.methods import METHODS

TEMPLATE = ROOT / "workflow/report/report.html.j2"
PROTOCOLS = {"fixed0.5": 0.5, "uniform": [0.1, 0.5]}
FIGURES = (
    "figure1_architecture",
    "figure2_convolution",
    "figure3_unet",
    "figure7_boxes",
    "figure8_differences",
    "training",
    "times",
    "convergence",
    "learned",
    "failures",
    "courses",
    "by_level",
)
PROTOCOL_FIGURES = ("figure4_examples", "figure5_maps", "figure6_grid")


def gain_of(baseline, metric, gain):
    """Mean gain of the map: `gain` dB over the oracles, a little more over weaker baselines; SSIM a fortieth of it."""
    return (gain + {"noisy": 9, "scalar-fixed": 0.2}.get(baseline, 0)) / (1 if metric == "psnr" else 40)


def study(folder, gain=1.5, half_width=0.1, protocols=PROTOCOLS, source="archive", draws=2):
    """Write tables, figures and provenance of a small made-up study; returns the arguments of build_report.main."""
    random = numpy.random.default_rng(3)
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["noise"]["protocols"] = protocols
    config["data"] |= {"source": source, "archive": "images.zip"}
    for name in ("tables", "figures"):
        (folder / name).mkdir(parents=True)

    def level(protocol, image):
        return protocols[protocol] if protocol != "uniform" else 0.1 + 0.1 * int(image[-1])

    images = [(p, d, f"IM-{i:04d}", f"{i // 2:04d}") for p in protocols for d in range(draws) for i in range(4)]
    rows = {
        "per_image": [
            {
                "protocol": p,
                "draw": d,
                "id": i,
                "patient": g,
                "noise_level": level(p, i),
                "method": m,
                "weight_mean": 0.07,
            }
            | {"psnr": 30.0, "ssim": 0.8, "gap": 0.0 if m == "noisy" else random.uniform(0, 1)}
            for p, d, i, g in images
            for m in METHODS
        ],
        "scalar_choice": [
            {"protocol": p, "draw": d, "id": i, "weight_fixed": 0.07, "weight_psnr": random.uniform(0, 0.1)}
            | {"weight_ssim": random.uniform(0, 0.1), "psnr_edge": i == "IM-0001", "ssim_edge": False}
            | {"weight_psnr_fine": 0.071, "psnr_gain_fine": 0.004, "weight_ssim_fine": 0.075, "ssim_gain_fine": 0.0001}
            for p, d, i, _ in images
        ],
        "summary": [
            {"protocol": p, "method": m, "n": 4 * draws}
            | {f"psnr_{k}": random.uniform(20, 40) for k in ("mean", "std", "low", "high")}
            | {f"ssim_{k}": random.uniform(0, 1) for k in ("mean", "std", "low", "high")}
            | {"gain": random.uniform(-9, 3), "gain_low": random.uniform(-9, 3), "gain_high": random.uniform(-9, 3)}
            | dict.fromkeys(("share", "share_low", "share_high"), math.nan)
            for p in protocols
            for m in METHODS
        ],
        "gains": [
            {"protocol": p, "baseline": b, "metric": m, "n": 4 * draws, "mean": gain_of(b, m, gain)}
            | {"low": gain_of(b, m, gain - half_width), "high": gain_of(b, m, gain + half_width)}
            | {"std": random.uniform(0, 1), "win_rate": random.uniform(), "effect_size": random.uniform(-3, 3)}
            | {"p_value": random.uniform(), "p_holm": 10 ** random.uniform(-9, 0)}
            for p in protocols
            for b in METHODS[:-1]
            for m in ("psnr", "ssim")
        ],
        "training_history": [
            {"epoch": e, "learning_rate": 1e-4, "train_loss": 1e-3, "val_loss": 2e-3, "val_psnr": p, "val_ssim": 0.8}
            for e, p in ((1, 28.0), (2, 31.234), (3, 30.0))
        ],
        "times": [
            {"step": step, "jobs": 2, "seconds": 4000.5, "max_rss_mib": memory}
            for step, memory in (("train", 900.0), ("grid", math.nan))
        ],
        "examples": [
            {"protocol": p, "kind": k, "id": "IM-0001", "noise_level": 0.5, "gain_db": gain, "psnr_noisy": 20.0}
            | {"psnr_scalar": 30.0, "psnr_map": 30.0 + gain, "weight_scalar": 0.07}
            for p in protocols
            for k in ("median", "best", "worst")
        ],
        "failures": [
            {"protocol": p, "method": m, "bin": k, "detail": 0.01 * k, "mse": mse, "n": 8}
            for p in protocols
            for m, errors in (("scalar-oracle-psnr", (0.1, 0.2, 0.3)), ("map", (0.05, 0.19, 0.36)))
            for k, mse in enumerate(errors, 1)
        ],
        "contrasts": [
            {"protocol": p, "draw": 0, "id": i, "contrast": random.uniform(0.1, 0.3), "noise_std": 0.05}
            for p, d, i, _ in images
            if d == 0
        ],
        "learned": [
            {
                "protocol": p,
                "map": "Λ",
                "noise_std": std,
                "detail": d,
                "weight_low": w * std,
                "weight": w * std,
                "weight_high": w * std,
            }
            for p in protocols
            for std in (0.05, 0.1)
            for d, w in ((0.3, 0.5 + std), (0.1, 1.0))
        ],
        "checks": [
            {"check": "no image twice", "holds": True, "number": 12},
            {"check": "relative gap ≤ 0.001", "holds": False, "number": 0.00214},
        ],
        "courses": [
            {"variant": "", "epoch": e, "minutes": 0.25 * e, "val_psnr": 29 + e, "val_gain": 0.7 * e} for e in (1, 2, 3)
        ],
        "steps": [
            {"variant": "", "iterations": 256, "milliseconds": 90.4, "low": 85, "high": 95, "size": 1, "threads": 2}
            | {"precision": "float32", "device": "a machine"}
        ],
    }
    for name, table in rows.items():
        table = pandas.DataFrame(table)
        if name == "per_image":
            table["relative_gap"] = table.gap / 900
            comparison.gaps(table, 256**2).to_csv(folder / "tables/gaps.csv", index=False)
            by_level = comparison.by_level(table, {"resamples": 50, "confidence": 0.95, "seed": 1})
            by_level.to_csv(folder / "tables/by_level.csv", index=False)
        table.to_csv(folder / f"tables/{name}.csv", index=False)
    for name in (*FIGURES, *(f"{f}_{p}" for f in PROTOCOL_FIGURES for p in protocols)):
        Image.new("RGB", (7, 5), (200, len(name), 30)).save(folder / f"figures/{name}.png")
    provenance = {
        "study": "small <study>",
        "config": config,
        "code": {"scripts": "abc", "commit": "c" * 40, "changed": True},
        "times": {"start": "2001-02-03T04:05:06Z", "end": "2001-02-03T05:06:07Z"},
        "versions": {"python": "3.11"},
        "machines": {"some CPU, 2 cores, Linux": ["train"], "another CPU": ["grid"]},
        "training": {"epochs": 3, "reported": "last", "best_epoch": 2, "seconds": 75.0, "fingerprint": "f" * 64},
        "seed": 42,
        "data": {"source": source, "n": {"train": 6, "val": 2, "test": 4}, "manifest_sha256": "0" * 64},
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))
    tables = sorted((folder / "tables").glob("*.csv"))
    return tables, folder / "figures", folder / "provenance.json", TEMPLATE, looks.LOOKS, folder / "report.html"


def build(folder, **options):
    """The page of a made-up study, as text."""
    arguments = study(folder, **options)
    build_report.main(*arguments)
    return arguments[-1].read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects start tags with their attributes, the cells of every table by its id, and the visible text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.tables, self.texts, self.open_cell, self.hidden = [], {}, [], False, False
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.texts))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "table":
            self.rows = self.tables[dict(attributes)["id"]] = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.open_cell = True
        elif tag == "style":
            self.hidden = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.open_cell = False
        elif tag == "style":
            self.hidden = False

    def handle_data(self, data):
        if self.open_cell:
            self.rows[-1][-1] += data
        if not self.hidden:
            self.texts.append(data)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Folder, HTML and parsed page of a study with two protocols."""
    folder = tmp_path_factory.mktemp("study") / "results"
    html = build(folder)
    return folder, html, Reader(html)


def numbers(cell):
    """The numbers in a cell's text."""
    return [float(text) for text in re.findall(r"[+-]?\d+\.?\d*", cell.replace("−", "-").replace("SSIM", ""))]


def test_page_loads_nothing_from_outside(small):
    _, html, reader = small
    for tag, attributes in reader.tags:
        assert tag not in ("script", "iframe", "object", "embed", "audio", "video", "base", "form"), tag
        for name, value in attributes.items():
            if name in ("src", "srcset", "poster", "data", "action") or (name == "href" and tag != "a"):
                assert value.startswith("data:"), (tag, name, value[:80])
            assert not name.startswith("on"), (tag, name)
    assert "url(" not in html and "@import" not in html


def test_every_figure_is_embedded_as_it_is_and_described(small):
    folder, _, reader = small
    pictures = [attributes for tag, attributes in reader.tags if tag == "img"]
    embedded = [base64.b64decode(picture["src"].removeprefix("data:image/png;base64,")) for picture in pictures]
    assert sorted(embedded) == sorted(path.read_bytes() for path in (folder / "figures").glob("*.png"))
    for data, picture in zip(embedded, pictures, strict=True):
        image = Image.open(io.BytesIO(data))
        image.load()
        assert image.format == "PNG" and image.size == (int(picture["width"]), int(picture["height"]))
        assert len(picture["alt"]) > 30


def test_links_and_ids_fit_together(small):
    _, _, reader = small
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)


def test_table_1_prints_the_table(small):
    folder, _, reader = small
    table = pandas.read_csv(folder / "tables/summary.csv")
    printed = reader.tables["table-1"][1:]
    assert len(printed) == len(table)
    for row, cells in zip(table.itertuples(), printed, strict=True):
        assert cells[0] == row.protocol and int(cells[2]) == row.n
        for column, metric, digits in ((3, "psnr", 2), (5, "ssim", 3)):
            expected = [round(getattr(row, f"{metric}_{part}"), digits) for part in ("mean", "std", "low", "high")]
            assert numbers(cells[column]) + numbers(cells[column + 1]) == pytest.approx(expected, abs=1e-9)
        expected = [round(value, 2) for value in (row.gain, row.gain_low, row.gain_high)]
        assert numbers(cells[7]) + numbers(cells[8]) == pytest.approx(expected, abs=1e-9)


def test_gains_are_printed_as_in_the_table(small):
    folder, _, reader = small
    table = pandas.read_csv(folder / "tables/gains.csv")
    printed = reader.tables["table-3"][1:]
    assert len(printed) == len(table)
    for row, cells in zip(table.itertuples(), printed, strict=True):
        digits = {"psnr": 2, "ssim": 3}[row.metric]
        assert cells[2].startswith(row.metric.upper())
        assert numbers(cells[4]) == pytest.approx([round(row.mean, digits), round(row.std, digits)], abs=1e-9)
        assert numbers(cells[5]) == pytest.approx([round(row.low, digits), round(row.high, digits)], abs=1e-9)
        assert numbers(cells[6]) == pytest.approx([round(100 * row.win_rate, 1)], abs=1e-9)
        assert numbers(cells[7]) == pytest.approx([round(row.effect_size, 2)], abs=1e-9)
        p_value = cells[8].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")).replace(" × 10", "e")
        assert float(p_value) == pytest.approx(row.p_holm, rel=0.05, abs=5e-4 if row.p_holm >= 1e-3 else 0)


def test_scalars_gaps_training_and_times_are_printed_as_in_the_tables(small):
    folder, _, reader = small
    choices = pandas.read_csv(folder / "tables/scalar_choice.csv")
    for cells in reader.tables["table-6"][1:]:
        rows = choices[choices.protocol == cells[0]]
        assert numbers(cells[3]) == pytest.approx([rows.weight_psnr.mean(), rows.weight_psnr.std(ddof=1)], abs=6e-4)
        assert numbers(cells[5]) == [2, 0]  # one image on the edge in each of two draws
    per_image = pandas.read_csv(folder / "tables/per_image.csv")
    printed = reader.tables["table-7"][1:]
    assert len(printed) == 2 * (len(METHODS) - 1)  # the noisy image is no solution
    largest = per_image[(per_image.protocol == "fixed0.5") & (per_image.method == "scalar-fixed")].gap.max()
    assert printed[0][5] == formats.scientific(math.sqrt(2 * largest / 256**2))
    error = 10 ** (-30 / 20)
    assert numbers(printed[0][6])[1] == pytest.approx(math.sqrt(2 * largest / 256**2) / error, abs=6e-3)
    assert [row[1] for row in reader.tables["table-8"][1:]] == ["1", "2", "3"]
    assert reader.tables["table-9"][1] == ["train", "2", "4000.5", "1 h 06 min", "900"]
    assert reader.tables["table-9"][2][-1] == "–"


def test_what_the_page_says_of_its_figures_is_what_was_computed():
    text = TEMPLATE.read_text(encoding="utf-8")
    traced = re.search(r"^TRACED = (\d+)", (ROOT / "workflow/rules/common.smk").read_text(), re.MULTILINE)[1]
    assert f"n.test > {traced} %}} of the first {traced} test images" in text
    assert text.count(f"blocks of {explain.BLOCK} × {explain.BLOCK} pixels") == text.count("over blocks of") == 2
    assert explain.NOISE_GROUPS == 3 and "one curve for each third of the images" in text


def test_provenance_names_code_machines_and_times(small, tmp_path):
    _, _, reader = small
    assert f"Code of the study scripts abc , commit {'c' * 40} with changes" in reader.text
    assert "Code of the training not recorded" in reader.text
    assert "from 2001-02-03T04:05:06Z to 2001-02-03T05:06:07Z (UTC)" in reader.text
    assert "Machine some CPU, 2 cores, Linux: train Machine another CPU: grid" in reader.text
    assert "not measured. Machine: some CPU, 2 cores, Linux; another CPU." in reader.text
    arguments = study(tmp_path / "study")
    provenance = json.loads(arguments[2].read_text())
    where = {"cpu": "fast", "cores": 8, "platform": "Linux"}
    provenance["training"] |= {"code_version": "def", "ended": "2001-01-01T00:00:00Z", "machine": where}
    provenance |= {"machines": {}, "times": {"start": None, "end": None}}
    provenance["code"] |= {"commit": None, "changed": None}
    arguments[2].write_text(json.dumps(provenance))
    build_report.main(*arguments)
    text = Reader(arguments[-1].read_text(encoding="utf-8")).text
    assert "Code of the training def" in text and "Code of the study scripts abc Code" in text
    assert "best on validation: epoch 2; ended 2001-01-01T00:00:00Z; on fast, 8 cores, Linux" in text
    assert "from – to – (UTC)" in text and "Machine: not recorded." in text


def test_published_numbers_stand_beside_ours(small):
    _, _, reader = small
    rows = reader.tables["table-4"]
    assert rows[1][1:] == ["33.43 ± 2.16", "34.73 ± 2.02", "+1.30", "0.87 ± 0.04", "0.90 ± 0.03", "+0.03"]
    assert rows[2][1:4] == ["31.28 ± 1.39", "32.79 ± 1.34", "+1.51"]
    assert rows[3][3] == "+1.50" and rows[3][6] == "+0.037"


def test_mathematics_is_mathml_numbered_and_complete(small):
    _, html, _ = small
    assert len(re.findall(r"<math\b", html)) > 60
    assert not re.search("[\ue000\ue001]", html)
    assert "\\" not in re.sub(r"<details>.*</details>", "", html, flags=re.DOTALL)  # no LaTeX is left
    shown = [int(n) for n in re.findall(r'<span class="number">\((\d+)\)</span>', html)]
    assert shown == list(range(1, len(shown) + 1)) and len(shown) >= 15
    circulant = re.search(r'id="equation-circulant".*?</span>', html, re.DOTALL)[0]
    assert circulant.count("<mtable>") == 2 and circulant.count("<mtr>") == 10 and circulant.count("<mtd>") == 50


@pytest.mark.parametrize("rows", [r"1&0\\0&1", "1 & 0 \\\\ \n 0 & 1 "])
def test_blanks_at_the_end_of_a_matrix_row_do_not_matter(rows):
    assert page.math(rf"\begin{{bmatrix}}{rows}\end{{bmatrix}}").count("<mtr>") == 2


def test_names_of_the_study_are_escaped(small):
    _, html, _ = small
    assert "small &lt;study&gt;" in html and "small <study>" not in html
    assert "images.zip" in html


@pytest.mark.parametrize(
    ("gain", "half_width", "headline", "verb"),
    [
        (1.5, 0.1, "Yes: the learned map beats", "it gains 1.50 dB"),
        (-1.5, 0.1, "No: the learned map is worse", "it loses 1.50 dB"),
        (0.0, 0.1, "Yes, against what can be done in practice", "it cannot be told apart, +0.00 dB"),
        (0.0, 0.3, "is not shown", "it cannot be told apart, +0.00 dB"),
        (0.1, math.nan, "is not shown", "it cannot be told apart, +0.10 dB"),
        (-0.15, 0.04, "But it loses to the best scalar weight", "it loses 0.15 dB"),
    ],
)
def test_answer_and_conclusion_follow_the_intervals(tmp_path, gain, half_width, headline, verb):
    text = Reader(build(tmp_path / "study", gain=gain, half_width=half_width)).text
    assert text.count(headline) == 2  # in the answer and in the conclusion
    assert verb in text


def test_protocols_that_disagree_are_said(tmp_path):
    gains = pandas.read_csv(next(path for path in study(tmp_path / "study")[0] if path.stem == "gains"))
    gains.loc[gains.protocol == "uniform", ["mean", "low", "high"]] *= -1
    assert conclusions.headline(gains).startswith("Only in part")


@pytest.mark.parametrize(
    ("gain", "words"), [(2.0, "larger than"), (1.32, "not to be told apart from"), (0.9, "smaller than")]
)
def test_gain_is_set_beside_the_published_one_for_x_rays(tmp_path, gain, words):
    assert f"is {words} the published +1.30 dB" in Reader(build(tmp_path / "study", gain=gain)).text


def test_photographs_are_not_called_x_rays(tmp_path):
    text = Reader(build(tmp_path / "study", source="sample", protocols={"fixed0.3": 0.3}, draws=1)).text
    assert "only the sign of the gain can be compared" in text and "the published +1.30 dB" not in text
    assert "4 test images of 2 photographs, 1 independent draw of noise" in text
    assert "Figure 4." in text and "Figure 4a" not in text and "(chest X-rays)" not in text


def test_rivals_that_are_ahead_stand_in_the_answer_and_in_the_conclusion(tmp_path):
    arguments = study(tmp_path / "study")
    path = next(path for path in arguments[0] if path.stem == "gains")
    gains = pandas.read_csv(path)
    of_oracle = gains[(gains["baseline"] == "scalar-oracle-psnr") & (gains["metric"] == "psnr")]
    rows = [
        ("unet-direct", -0.64, -0.7, -0.6),
        ("tgv", 1.5, 1.4, 1.6),
        ("bm3d", 0.18, 0.1, 0.2),
        ("map-oracle", -3, -4, -2),
    ]
    more = [of_oracle.assign(baseline=name, mean=mean, low=low, high=high) for name, mean, low, high in rows]
    more[2].loc[more[2]["protocol"] == "uniform", ["mean", "low", "high"]] = -0.19, -0.24, -0.14
    gains = pandas.concat([gains, *more])
    assert conclusions.ahead_of_map(gains) == (
        "Better than the map, without being told the clean test image: image (U-Net, no TV) under fixed0.5, uniform; "
        "BM3D under uniform."
    )
    (_, half), (_, varied) = conclusions.against_rivals(gains, 0.95)
    loses = "against image (U-Net, no TV) the map loses 0.64 dB (95 % interval −0.70 to −0.60); against BM3D the map "
    assert half == loses + "gains 0.18 dB (95 % interval +0.10 to +0.20)."
    assert varied.startswith(loses + "loses 0.19 dB") and "; against TGV" in varied
    gains.to_csv(path, index=False)
    build_report.main(*arguments)
    assert Reader(arguments[-1].read_text(encoding="utf-8")).text.count("the clean test image: image (U-Net") == 2
    nobody = pandas.read_csv(next(path for path in study(tmp_path / "other")[0] if path.stem == "gains"))
    assert conclusions.ahead_of_map(nobody) == "" and conclusions.against_rivals(nobody, 0.95) == []


def test_nearest_to_the_published_is_told_by_the_oracle_which_no_training_touches():
    rows = [
        ("", "fixed0.5", 30.3, 32.0, 0.80),
        ("louder", "fixed0.5", 25.0, 26.31, 0.60),
        ("quieter", "fixed0.5", 33.0, 40.0, 0.88),
        ("quieter", "uniform", 33.3, 34.5, 0.87),
        ("longer", "uniform", 33.43, 35.5, 0.87),  # has the scalars of the study
        ("clamped", "uniform", 33.43, 34.73, 0.87),  # is another measure
        ("rougher", "uniform", 33.43, 34.73, 0.95),  # two standard deviations off in SSIM
        ("all together", "uniform", 33.43, 34.73, 0.87),
    ]
    overlays = {"louder": {"noise": {}}, "quieter": {"solver": {}}, "rougher": {"solver": {}}}
    overlays |= {"longer": {"training": {}}, "clamped": {"report": {}}}
    table = pandas.DataFrame(rows, columns=["variant", "protocol", "oracle", "mean", "of_ssim"])
    table["gain"], table["metric"], table["changes"] = table["mean"] - table["oracle"], "psnr", "a key"
    table["mean_low"], table["mean_high"] = table["mean"] - 0.6, table["mean"] + 0.6
    ssim = table.assign(metric="ssim", oracle=table["of_ssim"], mean=34.73, gain=1.3)
    levels, later, gain = findings.nearest(pandas.concat([table, ssim]), overlays)
    assert (
        "published 33.43 dB and 0.87 is quieter under uniform: 33.30 dB and 0.870, 0.06 of its standard dev" in levels
    )
    # 0.06 and 0.32 standard deviations away; half the interval is 0.6 / 2.16 = 0.28
    assert levels.endswith(
        "by less than 0.28 of them, half the interval of a mean, so not told apart: under fixed0.5 quieter."
    )
    assert "later run's 31.28 dB and 0.82 is the study under fixed0.5: 30.30 dB and 0.800, 0.97 of its" in later
    assert "variant clamped (a key) under uniform: +1.30 dB" in gain
    own, _, _ = findings.nearest(pandas.concat([table.head(1), ssim.head(1)]), {})
    assert "is the study under fixed0.5: 30.30 dB and 0.800," in own and own.endswith("not told apart: none.")
    alone = table.head(1).assign(mean_low=float("nan"))
    assert "less than 0.00 of them" in findings.nearest(pandas.concat([alone, ssim.head(1)]), {})[0]


def test_what_is_chance_is_said_from_trainings_that_differ_in_their_seed_alone():
    gains = {"": 0.40, "seed-43": 0.44, "seed-44": 0.42, "longer": 0.9}
    rows = [{"variant": v, "protocol": "fixed0.5", "metric": "psnr", "gain": gain} for v, gain in gains.items()]
    table = pandas.DataFrame(rows + [row | {"metric": "ssim", "gain": 9} for row in rows])
    overlays = {"seed-43": {"training": {"seed": 43}}, "seed-44": {"training": {"seed": 44}}}
    overlays |= {"longer": {"training": {"seed": 43, "epochs": 9}}}
    (sentence,) = findings.chance(table, overlays, {"fixed0.5": 0.5}, 0.95)
    assert "trainings of the study from 3 seeds gain +0.40 to +0.44 dB" in sentence
    assert "standard deviation of 0.020 dB: in 95 % of pairs two of them differ by less than 0.12 dB" in sentence
    assert findings.chance(table, {"longer": overlays["longer"]}, {"fixed0.5": 0.5}, 0.95) == []


def test_the_cost_of_steps_is_said_with_where_it_was_taken():
    times, of = {"variant": ["", "T-8", "large"], "milliseconds": [90.4, 60.0, 400]}, {"": 64, "T-8": 8}
    steps = pandas.DataFrame({**times, "iterations": [64, 8, 1], "threads": 1, "device": "a machine"})
    steps["low"], steps["high"] = steps["milliseconds"] - 5, steps["milliseconds"] + 5
    said = findings.cost_of_steps(steps.assign(precision="float32"), of)
    assert "took 60 ms with T = 8 and 90 ms with T = 64, 1.5 times as long" in said
    assert said.endswith("(median, on a machine with 1 thread, U-Net in float32).")
    assert "overlap; median" in findings.cost_of_steps(steps.assign(precision="float32", low=60), of)
    assert "with 2 threads," in findings.cost_of_steps(steps.assign(precision="float32", threads=2), of)


def test_failures_and_speed_are_said_by_their_numbers(small, tmp_path):
    text = small[2].text
    words = "the oracle λ in 2 of 3 bins of detail, by 50 % at most (detail 0.010); it is not lower at detail 0.030,"
    assert text.count(f"{words} and there up to 20 % higher.") == 2
    assert text.count("the map gains nothing or loses on 4 of 4 images; the smallest gain is +0.00 dB, on IM-0000") == 2
    table = pandas.DataFrame({"protocol": "a", "bin": range(1, 7), "detail": range(1, 7), "mse": 0.2})
    errors = [0.1, 0.2, 0.3, 0.4, 0.1, 0.2]
    table = pandas.concat([table.assign(method="scalar-oracle-psnr"), table.assign(method="map", mse=errors)])
    assert text.count("the median changes from the least to the most detail: Λ by a factor of 0.55 to 0.60.") == 2
    assert "no method that does not see the clean image is ahead of the map at any level" in text
    (sentence,) = findings.block_failures(table, {"a": 0.5})
    assert "in 2 of 6 bins" in sentence
    assert "not lower at detail 2.000 to 4.000, 6.000, and there up to 100 % higher" in sentence
    goal = "the published gain of +1.30 dB on the validation images"
    assert f"The shortest training that reaches {goal} is that of the study: 30.0 s." in text
    assert "times the median time of a step (a machine with 2 threads, U-Net in float32)." in text
    arguments = study(tmp_path / "study")
    path = next(path for path in arguments[0] if path.stem == "courses")
    pandas.read_csv(path).assign(val_gain=[0.1, 0.5, 0.3]).to_csv(path, index=False)
    build_report.main(*arguments)
    found = Reader(arguments[-1].read_text()).text
    assert f"No training here reaches {goal}; the nearest, that of the study, comes to +0.50 dB after 30.0 s." in found


def with_config(folder, change, **options):
    """Arguments of `build_report.main` for a made-up study whose configuration `change` has edited."""
    arguments = study(folder, **options)
    provenance = json.loads(arguments[2].read_text())
    change(provenance)
    arguments[2].write_text(json.dumps(provenance))
    return arguments


def test_a_study_of_given_weights_has_no_course(tmp_path):
    arguments = with_config(tmp_path / "a", lambda found: found["config"]["network"].update(weights="last.safetensors"))
    build_report.main([path for path in arguments[0] if path.stem not in ("courses", "steps")], *arguments[1:])
    text = Reader(arguments[-1].read_text()).text
    assert "How soon a training is good" not in text and "Figure 12." not in text and "Figure 9." in text


def with_everything(folder):
    """The page of a made-up study with rivals and a variant, by TGV with learned maps: every part of the template."""

    def change(found):
        found["config"].update(variants=SEED, baselines=["bm3d-blind", "map-oracle"])
        found["config"]["network"].update(maps=2, penalty="tgv", noise_estimate="unit")

    arguments = with_config(folder, change)
    for name in ("tuning", "variants"):
        shutil.copyfile(arguments[1] / "times.png", arguments[1] / f"{name}.png")
    rows = [
        {"variant": name, "changes": name, "protocol": protocol, "metric": metric, "n": 8}
        | {"oracle": 30.0, "mean": 31.0, "gain": 1.0}
        for name in ("", "seed-2")
        for protocol in PROTOCOLS
        for metric in ("psnr", "ssim")
    ]
    table = pandas.DataFrame(rows).reindex(columns=page.OPTIONAL["variants"])
    table.to_csv(folder / "tables/variants.csv", index=False)
    build_report.main([*arguments[0], folder / "tables/variants.csv"], *arguments[1:])
    return arguments[-1]


FOLD, SEED = {"number": 1, "of": 5}, {"seed-2": {"training": {"seed": 2}}}
CHECKED = [
    (
        {"source": "archive"},
        lambda found: found["training"].update(device="cpu"),
        ["the log says when", "CC BY 4.0 [ 1 ]", "No GPU figure was measured", "the 2 noise draws, not another seed"],
        ["their user", "Device of the training"],
    ),
    (
        {"source": "archive", "draws": 1},
        lambda found: (found["training"].update(device="NVIDIA H100"), found["config"]["data"].update(fold=FOLD)),
        ["Device of the training: NVIDIA H100; of the study: cpu", "of which each has its own, not another seed"],
        ["No GPU figure", "the log says when"],
    ),
    (
        {"source": "folder"},
        lambda found: found["config"].update(variants=SEED, baselines=["bm3d-blind"]),
        [
            "for that 1 of the variants trains from another seed",
            "allows non-commercial use only",
            "their user alone",
        ],
        ["chest X-rays from the data set"],
    ),
]


@pytest.mark.parametrize(("options", "change", "said", "not_said"), CHECKED)
def test_checklists_are_answered_from_the_study(tmp_path, options, change, said, not_said):
    arguments = with_config(tmp_path / "study", change, **options)
    for name in ("tuning", "variants"):
        shutil.copyfile(arguments[1] / "times.png", arguments[1] / f"{name}.png")
    build_report.main(*arguments)
    html = arguments[-1].read_text()
    page_of_lists = html[html.index('<section id="checklists"') : html.index("</main>")]
    text = Reader(page_of_lists).text
    answers = re.findall(r"\? <strong>(.*?)\.</strong>", page_of_lists)
    assert len(answers) == 16 + 8 and set(answers) <= {"Yes", "No", "In part", "Not applicable"}
    assert [words for words in said if words not in text] == [] == [words for words in not_said if words in text]
    targets = set(re.findall(r'href="#([^"]+)"', page_of_lists))
    assert targets - {"variants"} <= set(re.findall(r'id="([^"]+)"', html))


@pytest.mark.parametrize("name", ["figure3_unet", "figure5_maps_uniform"])
def test_missing_figure_is_named(tmp_path, name):
    arguments = study(tmp_path / "study")
    (arguments[1] / f"{name}.png").unlink()
    with pytest.raises(StudyError, match=re.escape(f"{name}.png")):
        build_report.main(*arguments)


def test_missing_table_and_a_figure_that_is_none_are_named(tmp_path):
    arguments = study(tmp_path / "study")
    with pytest.raises(StudyError, match=r"gains\.csv"):
        build_report.main([path for path in arguments[0] if path.stem != "gains"], *arguments[1:])
    (arguments[1] / "times.png").write_bytes(b"no picture")
    with pytest.raises(StudyError, match=r"times\.png"):
        build_report.main(*arguments)


def test_same_input_gives_the_same_page(small, tmp_path):
    assert build(tmp_path / "study") == small[1]


def test_options_of_the_code_are_described(tmp_path):
    arguments = study(tmp_path / "study")
    provenance = json.loads(arguments[2].read_text())
    provenance["config"]["solver"] |= {"boundary": "neumann", "norm": "isotropic"}
    provenance["config"]["solver"] |= {"dual_start": "image", "lipschitz": "sqrt13"}
    provenance["config"]["network"] |= {"up_bound": 0.5, "padding": 4, "steps": "learned"}
    provenance["config"]["noise"]["kind"] = "absolute"
    arguments[2].write_text(json.dumps(provenance))
    build_report.main(*arguments)
    html = arguments[-1].read_text()
    for words in ("the Neumann boundary", "onto the disc", "instead of step 3", "with the upper bound", "padded by 4"):
        assert words in html
    assert "one trainable parameter" in html and "ratio learned" in html
    shown = [int(n) for n in re.findall(r'<span class="number">\((\d+)\)</span>', html)]
    assert shown == list(range(1, len(shown) + 1))


def test_tgv_is_described(tmp_path):
    arguments = study(tmp_path / "study")
    provenance = json.loads(arguments[2].read_text())
    provenance["config"]["network"] |= {"maps": 2, "penalty": "tgv"}
    arguments[2].write_text(json.dumps(provenance))
    build_report.main(*arguments)
    html = arguments[-1].read_text()
    assert "second-order total generalised variation" in html and "one for each of two orders" in html
    assert "vertical, channel 1" not in html
    assert "2.8 Total generalised variation (TGV)" in html and "Diagonal preconditioning" in html
    shown = [int(n) for n in re.findall(r'<span class="number">\((\d+)\)</span>', html)]
    assert shown == list(range(1, len(shown) + 1)) and html.count('id="equation-tgv') == 4
    certificate = re.search(r'id="equation-certificate">.*?<span class="number">(\(\d+\))', html, re.DOTALL)[1]
    assert set(re.findall(r'href="#equation-certificate">(.*?)<', html)) == {certificate}
    assert 'id="tgv"' not in build(tmp_path / "tv")


@pytest.mark.parametrize(
    "estimate,words",
    [
        ("input", ["as a second input", "2-32-64", "1,796,322 weights", "second input"]),
        (
            "unit",
            [
                "without having to be learned for each noise level",
                "1-32-64",
                "1,796,034 weights",
                "unit of grey values",
            ],
        ),
    ],
)
def test_the_part_of_the_noise_estimate_is_described(tmp_path, estimate, words):
    arguments = study(tmp_path / "study")
    provenance = json.loads(arguments[2].read_text())
    provenance["config"]["network"] |= {"noise_estimate": estimate, "start": "kaiming"}
    provenance["config"]["training"]["epsilon"] = 1e-12
    arguments[2].write_text(json.dumps(provenance))
    build_report.main(*arguments)
    text = Reader(arguments[-1].read_text()).text
    assert all(word in text for word in [*words, "He's", "1e-12"])
    provenance["config"]["network"] |= {"up_bound": 0.5}
    arguments[2].write_text(json.dumps(provenance))
    build_report.main(*arguments)
    assert "with the upper bound" in Reader(arguments[-1].read_text()).text


def test_brightness_agrees_with_the_solver():
    torch = pytest.importorskip("torch")
    from tvmap.pdhg import pdhg

    z = torch.rand(1, 1, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for iterations in (1, 8, 32):
        x, _ = pdhg(z, 0.05, iterations=iterations, dual_start="image")
        assert float(x.mean() / z.mean()) == pytest.approx(page.brightness(iterations), abs=1e-12)


def test_rules_are_compared_with_the_oracle():
    rows = [
        {"protocol": "a", "draw": 0, "id": f"i{k}", "method": m, "psnr": 30, "weight_mean": weight}
        for m, weights in (("scalar-sure-blind", (0.1, 0.3, 0.2)), ("scalar-oracle-psnr", (0.1, 0.2, 0.3)))
        for k, weight in enumerate(weights)
    ]
    choices = findings.rule_choices(pandas.DataFrame(rows))
    head, rows = page_tables.rules_table(choices)
    row = ["a", "scalar λ, SURE, σ estimated", "3", "0.200 ± 0.100", "0.200 ± 0.100", "+0.000", "0.067", "0.50"]
    assert rows == [row] and len(head) == len(row)
