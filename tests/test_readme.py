"""The README's numbers are those of the published tables."""

import re
from pathlib import Path

import pandas as pd
import pytest

from tvmap.methods import LABELS
from tvmap.tables import interval, mean_std, number
from tvmap.variants import REPEATS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PUBLISHED = sorted(path.parent.parent for path in ROOT.glob("results/reference/*/tables/summary.csv"))
# Of these the README compares the variants, on a fold of the train and val images; of `evidence`, which has the weights
# of xray-tgv, the rivals, and of `unet-direct` one of them. The others have rows of their own.
COMPARED = [folder for folder in PUBLISHED if folder.name in ("ambiguities", "better-map")]
# Of these the README has all repetitions of the training together: other folds, other seeds.
REPEATED = [folder for folder in PUBLISHED if folder.name in ("cross-validation", "seeds")]
RIVALS = [folder for folder in PUBLISHED if folder.name in ("evidence", "unet-direct")]
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


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
