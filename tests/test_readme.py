"""The README's numbers are those of the published tables, its commands and files are there."""

import json
import re
import shlex
import tomllib

import cost
import pandas as pd
import pytest
from smoke import ROOT
from snakemake.cli import get_argument_parser

from tvmap import commands, dissertation, findings
from tvmap.formats import interval, mean_std, number
from tvmap.methods import LABELS
from tvmap.significance import difference_by_chance
from tvmap.study import trains
from tvmap.variants import REPEATS

README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = ROOT / "results/reference"
PUBLISHED = sorted(path.parent.parent for path in ROOT.glob("results/reference/*/tables/summary.csv"))
# Of these the README compares the variants, on a fold of the train and val images; of `evidence`, which has the weights
# of xray-tgv, the rivals, of `unet-direct` one of them, of `tv-bound` the bound. The others have rows of their own.
COMPARED = [folder for folder in PUBLISHED if folder.name in ("ambiguities", "better-map")]
# Of these the README has all repetitions of the training together: other folds, other seeds.
REPEATED = [folder for folder in PUBLISHED if folder.name in ("cross-validation", "seeds", "fast-seeds")]
RIVALS = [folder for folder in PUBLISHED if folder.name in ("evidence", "tv-bound", "unet-direct")]
STUDIES = [folder for folder in PUBLISHED if folder not in (*COMPARED, *REPEATED, *RIVALS)]


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_result_table(folder):
    """A row: study and protocol | fixed λ, oracle, map: PSNR (SSIM) | gain over the fixed λ | gain over the oracle."""
    summary = pd.read_csv(folder / "tables/summary.csv").set_index(["protocol", "method"])
    gains = pd.read_csv(folder / "tables/gains.csv").set_index(["protocol", "baseline", "metric"])
    for protocol in summary.index.unique("protocol"):
        cells = [f"`{folder.name}`, {protocol}"]
        for method in ("scalar-fixed", "scalar-oracle-psnr", "map"):
            row = summary.loc[protocol, method]
            cells.append(f"{mean_std(row.psnr_mean, row.psnr_std, 2)} ({mean_std(row.ssim_mean, row.ssim_std, 3)})")
        for baseline in ("scalar-fixed", "scalar-oracle-psnr"):
            row = gains.loc[protocol, baseline, "psnr"]
            cells.append(f"{number(row['mean'], 2, True)} {interval(row.low, row.high, 2, True)}")
        assert "| " + " | ".join(cells) + " |" in README, "copy this row into the table of the README"


@pytest.mark.parametrize("folder", REPEATED, ids=lambda folder: folder.name)
def test_result_table_of_repetitions(folder):
    """A row: study, how many trainings, and protocol | – | oracle, map: PSNR (SSIM) | – | gain over the oracle."""
    table = pd.read_csv(folder / "tables/variants.csv").fillna({"variant": ""})
    trainings = table["variant"].nunique() - 1
    rows = table[table["variant"] == REPEATS].set_index(["protocol", "metric"])
    for protocol in rows.index.unique("protocol"):
        psnr, ssim = (rows.loc[protocol, metric] for metric in ("psnr", "ssim"))
        cells = [f"`{folder.name}`, {trainings} trainings, {protocol}", "–"]
        cells += [f"{number(psnr[column], 2)} ({number(ssim[column], 3)})" for column in ("oracle", "mean")]
        gain = f"{number(psnr['gain'], 2, True)} {interval(psnr.gain_low, psnr.gain_high, 2, True)}"
        assert "| " + " | ".join([*cells, "–", gain]) + " |" in README, "copy this row into the table of the README"


def test_table_of_rivals_by_level():
    """A row: method | at each level, over three noise draws: what the map gains over it."""
    gains = pd.read_csv(REFERENCE / "levels/tables/gains.csv")
    gains = gains[(gains["metric"] == "psnr") & (gains["baseline"] != "noisy")].set_index(["baseline", "protocol"])
    protocols = [f"fixed0.{k}" for k in range(1, 6)]
    assert set(gains.index.unique("protocol")) == set(protocols) and set(gains["n"]) == {300}
    for method in gains.index.unique("baseline"):
        cells = [LABELS[method], *(gain("levels", protocol, method, signed=True) for protocol in protocols)]
        assert "| " + " | ".join(cells) + " |" in README, "copy this row into the table of the README"


def test_rows_of_the_dissertation():
    """A row: whose | – | oracle, map: PSNR (SSIM) | – | gain over the oracle; the module says it in numbers, too."""
    whose = ("dissertation, Table 1", "a later run of the dissertation's code, level 0.5")
    for name, study in zip(whose, dissertation.STUDIES.values(), strict=True):
        psnr, ssim = ({which: mean_std(*of, 2) for which, of in study[metric].items()} for metric in ("psnr", "ssim"))
        cells = [f"{psnr[which]} ({ssim[which]})" for which in ("oracle", "map")]
        gained = number(dissertation.gain(study, "psnr"), 2, True)
        assert " | ".join((f"| {name}", "–", *cells, "–", f"{gained} |")) in README
    assert (dissertation.GAIN, dissertation.gain(dissertation.LATER, "psnr")) == (1.30, 1.51)


def test_table_of_rivals():
    """A row: method | for each protocol PSNR (SSIM) | what the map gains over it."""
    folder = ROOT / "results/reference/evidence/tables"
    summary = pd.read_csv(folder / "summary.csv").set_index(["protocol", "method"])
    gains = pd.read_csv(folder / "gains.csv").set_index(["protocol", "baseline", "metric"])
    for method in summary.index.unique("method"):
        cells = [LABELS[method]]
        for protocol in ("fixed0.5", "uniform"):
            row = summary.loc[protocol, method]
            cells.append(f"{number(row.psnr_mean, 2)} ({number(row.ssim_mean, 3)})")
            gain = gains.loc[protocol, method, "psnr"] if method != "map" else None
            cells.append(
                f"{number(gain['mean'], 2, True)} {interval(gain.low, gain.high, 2, True)}" if gain is not None else "–"
            )
        assert "| " + " | ".join(cells) + " |" in README, "copy this row into the table of the README"


@pytest.mark.parametrize("folder", COMPARED, ids=lambda folder: folder.name)
def test_table_of_variants(folder):
    """A row: variant | what differs | level 0.5, U[0.1, 0.5]: map minus oracle λ | the same: map minus the study's."""
    table = pd.read_csv(folder / "tables/variants.csv").fillna({"variant": "", "changes": ""})
    rows = table[table["metric"] == "psnr"].set_index(["variant", "protocol"])
    for variant in rows.index.unique("variant"):
        of = [rows.loc[variant, protocol] for protocol in ("fixed0.5", "uniform")]
        cells = [variant or "the study", of[0].changes or "–"]
        cells += [number(row["gain"], 2, True) for row in of]
        for row in of:
            given = f"{number(row.difference, 2, True)} {interval(row.difference_low, row.difference_high, 2, True)}"
            cells.append(given if pd.notna(row.difference) else "–")
        assert "| " + " | ".join(cells) + " |" in README, "copy this row into the table of the README"


def test_table_of_costs():
    """A row: step | jobs | core hours | hours on each number of nodes | a larger study: measured : fitted."""

    def hours(value):
        return f"{value:,.0f}" if value >= 100 else number(value, 1 if value >= 10 else 2)

    for row in pd.read_csv(ROOT / "results/reference/cost/cost.csv").itertuples():
        cells = [row.step, str(row.jobs), *map(hours, (row.core_h, row.nodes_1_h, row.nodes_8_h, row.nodes_64_h))]
        cells.append(number(row.larger_measured_to_fitted))
        assert "| " + " | ".join(cells) + " |" in README, "copy this row into the table of the README"


def says(sentence):
    """Whether the README has the sentence, broken into lines anywhere."""
    return " ".join(sentence.split()) in " ".join(README.replace("**", "").split())


def gain(study, protocol, baseline, signed=False):
    gains = pd.read_csv(REFERENCE / study / "tables/gains.csv").set_index(["protocol", "baseline", "metric"])
    row = gains.loc[protocol, baseline, "psnr"]
    return f"{number(row['mean'], 2, signed)} {interval(row.low, row.high, 2, signed)}"


def variants_of(study, metric="psnr"):
    """The rows of a published study and its variants by (variant, protocol)."""
    table = pd.read_csv(REFERENCE / study / "tables/variants.csv").fillna({"variant": ""})
    return table[table["metric"] == metric].set_index(["variant", "protocol"])


def test_what_is_said_of_tgv_with_numbers():
    protocols = ("fixed0.5", "uniform")
    summary = pd.read_csv(REFERENCE / "evidence/tables/summary.csv").set_index(["method", "protocol"])
    over = {}
    for method in ("tgv", "tv-isotropic"):
        rows = [summary.loc[method, protocol] for protocol in protocols]
        over[method] = [(number(row.gain), interval(row.gain_low, row.gain_high, 2)) for row in rows]
    (half, of_half), varied = over["tgv"][0], " ".join(over["tgv"][1])
    maps = [gain("evidence", p, rival).split()[0] for rival in ("tgv", "tgv-oracle") for p in protocols]
    assert says(
        f"TGV is {half} dB {of_half} above the oracle λ of TV at level 0.5 and {varied} at U[0.1, 0.5], isotropic TV "
        f"{' '.join(over['tv-isotropic'][0])} and {' '.join(over['tv-isotropic'][1])}. The maps gain {maps[0]} and "
        f"{maps[1]} dB over TGV's, and {maps[2]} and {maps[3]} over the best two numbers of TGV for each image"
    ), "correct this sentence of the README"


def test_what_is_said_of_bm3d_at_low_noise():
    rows = pd.read_csv(REFERENCE / "evidence/tables/by_level.csv")
    rows = rows[(rows["baseline"] == "bm3d") & (rows["protocol"] == "uniform")].sort_values("group")
    behind, *ahead = rows.itertuples()
    first, second = (f"{number(row.mean, 2)} {interval(row.low, row.high, 2)}" for row in ahead[:2])
    last = f"{number(ahead[-1].mean, 2)} dB {interval(ahead[-1].low, ahead[-1].high, 2)}"
    sentence = (
        f"below {number(ahead[0].level_low, 3)}, has the map {number(-behind.mean, 2)} dB "
        f"{interval(-behind.high, -behind.low, 2)} behind BM3D; above it is ahead, by {first}, {second} and {last} "
        "in the other quarters"
    )
    assert says(sentence), "correct this sentence of the README"
    behind, *ahead = (gain("levels", f"fixed0.{level}", "bm3d", signed=True) for level in (1, 2, 5))
    assert says(f"minus BM3D is {behind} dB at level 0.1, {ahead[0]} at 0.2 and {ahead[1]} at 0.5")


def test_what_is_said_of_non_local_means():
    psnr = pd.read_csv(REFERENCE / "evidence/tables/summary.csv").set_index(["method", "protocol"])["psnr_mean"]
    tuning = pd.read_csv(REFERENCE / "evidence/tables/tuning.csv").query("chosen and method == 'nlm'")
    half, varied = (tuning.set_index("protocol").loc[protocol] for protocol in ("fixed0.5", "uniform"))
    lead = " and ".join(map(number, psnr["nlm"] - psnr["tgv"]))
    assert says(f"Non-local means is {lead} dB ahead of TGV with two numbers")
    assert says(f"the best are {half.patch:.0f} pixels wide and {half.distance:.0f} pixels away at most")
    assert says(f"at U[0.1, 0.5] {varied.patch:.0f} wide and {varied.distance:.0f} away")


def test_what_is_said_of_noise_draws():
    table = pd.read_csv(REFERENCE / "seeds/tables/per_image.csv", dtype={"id": str})
    psnr = table.pivot(index=["protocol", "draw", "id"], columns="method", values="psnr")
    gains = (psnr["map"] - psnr["scalar-oracle-psnr"]).groupby(["protocol", "draw"]).mean().unstack("draw")
    range_of = gains.max(axis=1) - gains.min(axis=1)
    assert gains.shape == (2, 3) and range_of["fixed0.5"] < 0.01
    assert says(f"by less than 0.01 dB at level 0.5, by {number(range_of['uniform'])} dB at U[0.1, 0.5]")


def test_what_is_said_of_the_way_to_the_oracle_maps():
    def shares(study, *methods):
        summary = pd.read_csv(REFERENCE / study / "tables/summary.csv").set_index(["method", "protocol"])["share"]
        return [f"{100 * summary[method, p]:.0f}" for method in methods for p in ("fixed0.5", "uniform")]

    said = "maps go {} % at level 0.5 and {} % at U[0.1, 0.5], BM3D {} and {} %, the U-Net without TV {} and {} %"
    assert says(said.format(*shares("evidence", "map", "bm3d", "unet-direct")))
    psnr = pd.read_csv(REFERENCE / "tv-bound/tables/summary.csv").set_index(["method", "protocol"])["psnr_mean"]
    bounds = map(number, psnr["map-oracle"] - psnr["scalar-oracle-psnr"])
    said = "it gains {} and {} dB over the oracle λ, of which the network of `xray-fast` reaches {} and {} %"
    assert says(said.format(*bounds, *shares("tv-bound", "map")))


def test_what_is_said_of_the_aims():
    direct = pd.concat(pd.read_csv(REFERENCE / study / "tables/gains.csv") for study in ("evidence", "levels"))
    lead = -direct[(direct["baseline"] == "unet-direct") & (direct["metric"] == "psnr")]["mean"]
    assert says(f"is {number(lead.min(), 1)} to {number(lead.max(), 1)} dB better than through its maps")
    table = {
        "2.2 dB above the best scalar λ of each image (oracle)": "scalar-oracle-psnr",
        "0.5 dB above BM3D, which is told the noise level": "bm3d",
        "within 0.3 dB of the same U-Net predicting the image": "unet-direct",
    }
    for aim, baseline in table.items():
        at_half, varied = (gain("evidence", protocol, baseline, signed=True) for protocol in ("fixed0.5", "uniform"))
        row = next(" ".join(line.split()) for line in README.splitlines() if line.startswith(f"| {aim} | "))
        assert row.startswith(" ".join(f"| {aim} | {at_half}: ".split())), baseline
        assert row.endswith(" ".join(f" | {varied}: no |".split())), baseline


def test_what_is_said_of_the_finer_grid():
    where = {"0.1": ("levels", "fixed0.1"), "0.2": ("levels", "fixed0.2"), "0.5": ("levels", "fixed0.5")}
    where["U"] = ("evidence", "uniform")
    fine = {name: gain(*at, "scalar-oracle-fine") for name, at in where.items()}
    coarse = {name: gain(*at, "scalar-oracle-psnr").split()[0] for name, at in where.items()}
    assert says(
        f"the gain of the map is {fine['0.1']} dB in place of {coarse['0.1']} at level 0.1, {fine['0.2']} for "
        f"{coarse['0.2']} at 0.2, {fine['0.5']} for {coarse['0.5']} at 0.5, and {fine['U']} for {coarse['U']} at U"
    )


def test_what_is_said_of_the_steps_that_tgv_takes():
    table = pd.read_csv(REFERENCE / "evidence/tables/convergence.csv")
    of_map = table[(table["method"] == "map") & (table["protocol"] == "fixed0.5")].set_index("iterations")["psnr"]
    with_16, with_32, with_64 = (number(of_map[256] - of_map[steps]) for steps in (16, 32, 64))
    assert says(f"with 16 in the test they lose {with_16} dB at level 0.5, with 32 {with_32}, with 64 {with_64}")


def test_what_is_said_of_seeds_and_folds():
    for study, sentence in (
        ("seeds", "a standard deviation of {0} dB under both"),
        ("cross-validation", "The five mean gains have a standard deviation of {0} and {1} dB"),
    ):
        table = variants_of(study)
        spread = [number(table.loc[(REPEATS, p), "gain_std_between"], 2) for p in ("fixed0.5", "uniform")]
        assert says(sentence.format(*spread)), study
    folds = table["gain"].unstack("protocol").drop(REPEATS)
    first, others = folds.loc[""], folds.drop("").agg(["min", "max"])
    numbers = [first["fixed0.5"], first["uniform"], *others["fixed0.5"], *others["uniform"]]
    assert says(
        "gains {} and {} dB, within the range of the other four, {} to {} and {} to {}".format(
            *(number(value, 2) for value in numbers)
        )
    )


@pytest.mark.parametrize(
    ("study", "said"),
    [
        ("seeds", "The three mean gains are {}, {} and {} dB at level 0.5 and {}, {} and {} at U[0.1, 0.5]"),
        (
            "fast-seeds",
            "Three trainings of it, with three noise draws (`fast-seeds`), gain {}, {} and {} dB at level 0.5 and "
            "{}, {} and {} at U[0.1, 0.5], with a standard deviation of {} and {} dB",
        ),
    ],
)
def test_what_is_said_of_each_seed(study, said):
    table, protocols = variants_of(study), ("fixed0.5", "uniform")
    gains = [number(gain) for p in protocols for gain in table["gain"].unstack("protocol").drop(REPEATS)[p]]
    spread = [number(table.loc[(REPEATS, p), "gain_std_between"], 2) for p in protocols]
    assert says(said.format(*gains, *spread))


def test_what_is_said_of_the_seeds_of_xray_fast():
    table, protocols = variants_of("fast-seeds"), ("fixed0.5", "uniform")
    gains = table["gain"].unstack("protocol")
    assert (gains.drop(["", REPEATS]) < gains.loc[""]).all(axis=None)
    better = [number(gains.loc["", p] - gains.loc[REPEATS, p]) for p in protocols]
    assert says("the first, whose weights are published, happens to be the best")
    assert says("{} and {} dB better than the three on average".format(*better))
    courses = pd.read_csv(REFERENCE / "fast-seeds/tables/courses.csv")
    reached = courses[courses["val_gain"] >= 1.30].groupby("variant")["minutes"].first()
    assert says("after {:.0f} and {:.0f} minutes on one thread".format(*reached[["seed-43", "seed-44"]]))


def test_what_is_said_of_the_time_to_the_published_gains():
    table = pd.read_csv(REFERENCE / "xray-tgv/tables/courses.csv")
    first, later = (table[table["val_gain"] >= gain].iloc[0] for gain in (1.30, 1.51))
    reached = [number(row.minutes, 1) for row in (first, later)]
    whole = number(table["minutes"].max(), 1)
    assert says(
        f"after {first.epoch:g} of its {table['epoch'].max()} epochs, {reached[0]} of {whole} minutes on two cores"
    )
    assert says(f"after {later.epoch:g} epochs, {reached[1]} minutes")
    assert says(f"| 1.30 dB after {reached[0]}, 1.51 dB after {reached[1]} minutes, on validation: yes |")


def course_of_record(study):
    """The course of a study that is older than the rule of courses: its history, the time in its training's record,
    and the oracle of the same eight validation images, which `fast-seeds` has in its own courses."""
    lists = [pd.read_csv(REFERENCE / name / "manifest.csv") for name in (study, "fast-seeds")]
    validated, same = ([*rows.loc[rows["split"] == "val", "sha256"]] for rows in lists)
    assert validated == same and len(validated) == 8
    of_seeds = pd.read_csv(REFERENCE / "fast-seeds/tables/courses.csv")
    oracle = of_seeds["val_psnr"] - of_seeds["val_gain"]
    assert oracle.max() - oracle.min() < 1e-9
    table = pd.read_csv(REFERENCE / study / "model/history.csv")
    minutes = json.loads((REFERENCE / study / "model/training.json").read_text(encoding="utf-8"))["seconds"] / 60
    return table.assign(minutes=minutes * table["epoch"] / len(table), val_gain=table["val_psnr"] - oracle.median())


def test_table_of_times_to_the_published_gain():
    """A row: training | epochs | minutes | validation gain at its end | where it first reaches the published gain."""
    rows = [(f"`{study}`", course_of_record(study)) for study in ("dissertation-120-epochs", "xray-fast")]
    for study, variant, label in (
        ("xray-tgv", "", "`xray-tgv`"),
        *(("better-map", name, f"`better-map`, {name}") for name in ("tgv-unit-kaiming", "tgv-unit-kaiming-10-epochs")),
    ):
        table = pd.read_csv(REFERENCE / study / "tables/courses.csv", keep_default_na=False)
        rows.append((label, table[table["variant"] == variant]))
    for label, table in rows:
        last, reached = table.iloc[-1], table[table["val_gain"] >= dissertation.GAIN]
        cells = [label, f"{last.epoch:.0f}", number(last.minutes, 1), number(last.val_gain, 2, True)]
        cells += [f"epoch {r.epoch:.0f}, {number(r.minutes, 1)} minutes" for r in reached[:1].itertuples()] or ["–"]
        assert "| " + " | ".join(cells) + " |" in README, "copy this row into the table of the README"


def test_what_is_said_of_the_time_of_other_seeds():
    table = pd.read_csv(REFERENCE / "seeds/tables/courses.csv")
    reached = table[table["val_gain"] >= 1.30].groupby("variant")["minutes"].first()
    assert says("after {} and {}".format(*(number(reached[seed], 1) for seed in ("seed-43", "seed-44"))))


def test_what_is_said_of_chance_and_of_steps_to_a_better_map():
    table = variants_of("better-map")
    seeds, bound, ends, better, worse = ["", "seed-43", "seed-44"], {}, {}, {}, {}
    for protocol in ("fixed0.5", "uniform"):
        rows = table.xs(protocol, level="protocol")
        gains = rows.loc[seeds, "gain"]
        bound[protocol] = difference_by_chance(gains, 0.95)
        ends[protocol] = f"{number(gains.min(), 2, True)} to {number(gains.max(), 2, True)} dB"
        better[protocol] = set(rows.index[rows["difference"] > bound[protocol]])
        worse[protocol] = set(rows.index[rows["difference"] < -bound[protocol]])
    assert says(f"gain {ends['fixed0.5']} at level 0.5 and {ends['uniform']} at U[0.1, 0.5]")
    assert says(f"by less than {number(bound['fixed0.5'], 2)} and {number(bound['uniform'], 2)} dB: a wide bound")
    together = {"tgv-unit", *(f"tgv-unit-kaiming{more}" for more in ("", "-epsilon", "-10-epochs"))}
    assert better["fixed0.5"] & better["uniform"] == {"tgv", "noise-unit", "twice-as-long"} | together
    assert better["fixed0.5"] ^ better["uniform"] == {"kaiming"}  # at the bound
    assert (worse["fixed0.5"], worse["uniform"]) == (set(), {"batch-16"})

    def both(variant, column, signed):
        return " and ".join(number(table.loc[(variant, p), column], 2, signed) for p in ("fixed0.5", "uniform"))

    assert says(f"size of activations ({both('kaiming', 'difference', True)})")
    whole, short = "tgv-unit-kaiming", "tgv-unit-kaiming-10-epochs"
    assert says(f"start gain {both(whole, 'difference', True)} dB over the plain recipe in the same number of steps")
    assert says(f"{both(whole, 'gain', False)} dB over the oracle λ on the 42 images")
    courses = pd.read_csv(REFERENCE / "better-map/tables/courses.csv")
    first = courses[(courses["variant"] == whole) & (courses["val_gain"] >= 1.30)].iloc[0]
    last = courses[courses["variant"] == short].iloc[-1]
    assert says(f"after {first.epoch:g} of 40 epochs, {number(first.minutes, 1)} minutes of one core")
    assert says(f"in ten epochs alone, {number(last.minutes, 1)} minutes, comes to {number(last.val_gain, 2)} dB there")
    assert says(f"and to {both(short, 'gain', False)} on the 42 images")


def test_what_is_said_of_what_the_text_leaves_open():
    psnr, ssim = (variants_of("ambiguities", metric) for metric in ("psnr", "ssim"))
    config = json.loads((REFERENCE / "ambiguities/provenance.json").read_text())["config"]
    trained = [name for name, overlay in config["variants"].items() if trains(config, overlay)]
    n_measured = len(config["variants"]) - len(trained)
    assert says(f"{n_measured} variants measure the network") and says(f"{len(trained)} train anew, all on")

    protocols = ("fixed0.5", "uniform")
    seeds = psnr["gain"].unstack("protocol").loc[["", "train-seed-43", "train-seed-44"]]
    ends = [f"{number(seeds[p].min(), 2, True)} to {number(seeds[p].max(), 2, True)} dB" for p in protocols]
    assert says(f"Three trainings from three seeds gain {ends[0]} at level 0.5 and {ends[1]} at U[0.1, 0.5]")
    bound = {p: difference_by_chance(seeds[p], 0.95) for p in protocols}
    assert says("trainings differ, in 95 % of pairs, by less than {} and {} dB".format(*map(number, bound.values())))
    of_trained = psnr["difference"].unstack("protocol").loc[trained]
    for p in protocols:
        assert set(of_trained.index[of_trained[p] < -bound[p]]) == {"train-start-default", "train-T-8-p0-image"}
        assert set(of_trained.index[of_trained[p] > bound[p]]) == {"train-isotropic"}

    def both(variant, column, signed=False, factor=1):
        return " and ".join(number(factor * psnr.loc[(variant, p), column], 2, signed) for p in protocols)

    assert psnr.loc[["L-sqrt13", "p0-image", "clamped", "neumann"], "difference"].abs().max() <= 0.01
    without_flux = (psnr.loc["neumann", "oracle"] - psnr.loc["", "oracle"]).max()
    assert says(f"the oracle λ gains up to {number(without_flux)} without")
    fatal = [psnr.loc[f"{v}-p0-image", m] - psnr.loc[v, m] for v in ("T-8", "T-32") for m in ("mean", "oracle")]
    assert all(difference.between(-17, -13).all() for difference in fatal[:2])
    assert all(difference.abs().max() <= 0.03 for difference in fatal[2:])
    assert says(f"with 256 steps it is {both('train-T-8-p0-image', 'gain', factor=-1)} dB below the oracle λ")
    from_16_on = ["", *(v for v in trained if re.fullmatch(r"train-T-(16|32|128|256|1024|1024-closed-form)", v))]
    gains = psnr["gain"].unstack("protocol").loc[from_16_on]
    assert len(gains) == 7 and 0.115 < (gains.max() - gains.min()).max() < 0.125 and says("lie within 0.12 dB of one")
    better = variants_of("better-map")["difference"]
    there = " and ".join(number(better["isotropic", p]) for p in protocols)
    here = both("train-isotropic", "difference")
    assert says(f"an isotropic training gains {here}; in `better-map`, where chance is wider, {there}.")
    assert psnr.loc["isotropic", "difference"].between(-0.205, -0.145).all() and says("norm loses 0.15 to 0.2 dB")
    assert says(f"PyTorch's own costs {both('train-start-default', 'difference', factor=-1)} dB after 30 epochs")
    assert of_trained.loc["train-as-code"].abs().max() <= of_trained.loc[seeds.index[1:]].abs().max().max()
    early = [psnr.loc["T-8", column] - psnr.loc["", column] for column in ("oracle", "mean")]
    early = [number(difference[p]) for difference in early for p in protocols]
    assert says(
        "Stopped after 8 steps the oracle λ is {} and {} dB better than after 256, the study's map {} and {}".format(
            *early
        )
    )
    window = ssim.loc["ssim-7x7", "difference"]
    assert (window.round(3) == 0.008).all() and says("adds 0.008 to the SSIM of the map")
    assert (ssim.loc["ssim-7x7", "gain"] - ssim.loc["", "gain"]).abs().max() < 0.001 and says("by less than 0.001.")
    time = pd.read_csv(REFERENCE / "ambiguities/tables/steps.csv").fillna({"variant": ""}).set_index("variant")
    longer = 100 * (time["milliseconds"] / time.loc["", "milliseconds"] - 1)
    of_256, of_1024, closed = (longer[f"train-T-{T}"].round() for T in ("256", "1024", "1024-closed-form"))
    said = (
        "T = 256 takes {:.0f} % longer than with T = 64, with T = 1024 {:.0f} %, by the closed-form gradient {:.0f} %"
    )
    assert says(said.format(of_256, of_1024, closed))
    assert set(time["precision"]) == {"bfloat16"} and set(time["threads"]) == {1}


def test_what_is_said_of_the_published_numbers():
    table = pd.read_csv(REFERENCE / "ambiguities/tables/variants.csv").fillna({"variant": ""})
    oracle = table.set_index(["variant", "protocol", "metric"])["oracle"]
    digits = {"psnr": 2, "ssim": 3}
    (psnr, ssim), (psnr_isotropic, ssim_isotropic) = (
        [number(oracle[variant, "uniform", metric], k) for metric, k in digits.items()] for variant in ("", "isotropic")
    )
    overlays = json.loads((REFERENCE / "ambiguities/provenance.json").read_text())["config"]["variants"]
    found, later, gain = findings.nearest(table, overlays)
    assert " under uniform: " in found and "fixed0.5" not in found and "isotropic" in found.split("not told apart: ")[1]
    assert says(f"anisotropic: {psnr} dB and {ssim} on this fold") and psnr in found
    assert says(f"isotropic among them, {psnr_isotropic} and {ssim_isotropic}, lie within half the interval")
    excluded = [number(oracle[variant, "fixed0.5", "psnr"], 2) for variant in ("", "train-absolute")]
    assert says(f"relative or absolute, is excluded: {excluded[0]} and {excluded[1]} dB") and "train-absolute" in gain
    at_half = [number(oracle[name, "fixed0.5", metric], k) for name in ("", "T-8") for metric, k in digits.items()]
    assert "is T-8 under fixed0.5: " in later and "uniform" not in later
    assert says("{} dB and {} (with T = 8 {} and {})".format(*at_half))


def test_what_is_said_of_the_time_of_a_step():
    time = (
        pd.read_csv(REFERENCE / "better-map/tables/steps.csv")
        .fillna({"variant": ""})
        .set_index("variant")["milliseconds"]
    )
    with_tgv = [time["tgv"] / time[""], time["tgv-unit"] / time["noise-unit"]]
    assert [round(100 * (ratio - 1)) for ratio in with_tgv] in ([6, 6], [7, 6], [6, 7]), "some 6 %"
    assert says(f"some 6 % more with TGV, {100 * (time['learned-steps'] / time[''] - 1):.0f} % with learned steps")
    one_step = time.drop(["batch-2", "batch-16"]) / 1000
    assert says(f"{number(one_step.min(), 2)} to {number(one_step.max(), 2)} s")


def test_what_is_said_of_photographs():
    """The weights of quickstart against those of xray-tgv, on the same tiles and noise."""
    psnr, ssim = (variants_of("photographs", metric).loc["quickstart"] for metric in ("psnr", "ssim"))
    for table in (psnr, ssim):
        assert ((table["difference_low"] < 0) & (table["difference_high"] > 0)).all()
        assert table["difference"].abs().idxmax() == "fixed0.5"
    at_half = [
        (number(row["difference"], digits, True), interval(row.difference_low, row.difference_high, digits, True))
        for row, digits in ((psnr.loc["fixed0.5"], 2), (ssim.loc["fixed0.5"], 3))
    ]
    (of_psnr, of_ssim), whole = (of for of, _ in at_half), [of for _, of in at_half]
    assert says(f"differ from theirs by {of_psnr} dB {whole[0]} in PSNR and {of_ssim} {whole[1]} in SSIM at level 0.5")


def test_what_is_said_of_the_cost_of_a_large_study():
    costs = pd.read_csv(REFERENCE / "cost/cost.csv", index_col="step")
    paper, quick = (costs.loc[f"train, {name}", "nodes_1_h"] for name in ("dissertation", "xray-quick"))
    epochs = [recipe["epochs"] for recipe in cost.recipes().values()]
    months = ["no", "one", "two", "three", "four", "five"][round(paper / 24 / 30.4)]
    assert says(f"The {epochs[0]} epochs of the dissertation, on whole images, would take {months} months")
    others = costs.loc[cost.STEPS, ["nodes_1_h", "nodes_8_h", "nodes_64_h"]]
    one, eight, most = (number(hours, 1) for hours in others.sum())
    assert says(f"The {epochs[1]} epochs of crops of `xray-quick` take {quick:.0f} hours; then 8 nodes are enough")
    assert says(f"all else takes {one} hours on one node, {eight} on eight and {most} on 64, where more than half")
    shares = others.loc["refine_grid"] / others.sum()
    assert others["nodes_8_h"].sum() < quick and shares["nodes_64_h"] > 0.5
    small, large, check = (sum(images.values()) for images in (*cost.FIT, cost.CHECK))
    assert says(f"all {sum(cost.LARGE.values()):,} images at {cost.SIZE}², {cost.LEVELS} noise levels")
    assert says(f"measured on studies of {small} and {large} images") and says(f"in a study of {check} images")


BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", BLOCK.sub("", README))]


def calls(program):
    """[arguments] of the calls of a program in the README's code, comments left out."""
    lines = [line for block in BLOCK.findall(README) for line in block.splitlines()] + INLINE
    found = [call.strip() for line in lines for call in line.split("&&")]
    return [shlex.split(call, comments=True)[1:] for call in found if call.split()[:1] == [program]]


def test_what_it_makes_are_targets_and_studies():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets, settings = (set(re.findall(p, makefile, re.MULTILINE)) for p in (r"^([\w-]+):.* ## ", r"^(\w+) \?="))
    studies = {path.stem for path in ROOT.glob("workflow/studies/*.yaml")}
    studies |= {"dissertation", "mine"}  # config.yaml itself; what the reader writes
    made = calls("make")
    assert len(made) > 10
    for words in made:
        given = dict(word.split("=", 1) for word in words if "=" in word)
        assert {word for word in words if "=" not in word} <= targets and given.keys() <= settings, words
        assert {*given.get("STUDY", "").split()} <= studies, words
    stacks = [code.split() for code in INLINE if code.split()[0] in studies]
    assert max(map(len, stacks)) > 2 and {name for stack in stacks for name in stack} <= studies


def test_its_calls_of_the_command_can_be_parsed():
    """Those within the text leave out the files."""
    made = [words for words in calls("tvmap") if words not in ([], ["--help"])]
    assert len(made) > 4
    for words in made:
        commands.parser().parse_args(words if "-o" in words else [*words, "noisy.png", "-o", "clean.png"])


def test_its_calls_of_snakemake_can_be_parsed():
    made = calls("snakemake")
    assert len(made) > 4
    for words in made:
        get_argument_parser().parse_args(words)


def test_the_options_that_it_names_are_there(capsys):
    with pytest.raises(SystemExit):
        commands.parser().parse_args(["denoise", "--help"])
    known = re.findall(r"--[\w-]+", capsys.readouterr().out + get_argument_parser().format_help())
    named = {code.split()[0] for code in INLINE if code.startswith("--")}
    assert named and named <= {*known}


def test_the_files_that_it_names_are_there():
    """By their path from the top, or as part of the folder that is spoken of."""
    paths = set(re.findall(r"(?<![\w/<.])(?:workflow|envs|tests|results/reference)/[\w./*-]*", README))
    paths = {path.rstrip(".") for path in paths} - {"workflow/studies/mine.yaml"}
    assert len(paths) > 30 and [path for path in paths if not any(ROOT.glob(path))] == []
    folders = ("", "tests", "workflow/rules", "workflow/scripts", "workflow/scripts/tvmap")
    names = set(re.findall(r"(?<![\w/.*])\w[\w/]*\.(?:py|sh|smk)\b", README))
    assert len(names) > 9 and [name for name in names if not any((ROOT / at / name).exists() for at in folders)] == []


def test_what_it_installs_is_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    made = calls("pip")
    asked = {extra for words in made for word in words for extra in re.findall(r"^\.\[(\w+)\]$", word)}
    assert asked and asked <= extras.keys()
    lists = [words[words.index("-r") + 1] for words in made if "-r" in words]
    assert len(lists) > 2 and all((ROOT / path).is_file() for path in lists)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
