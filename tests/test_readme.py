"""The README's numbers are those of the published tables."""

import re
from pathlib import Path

import pandas as pd
import pytest

from tvmap.methods import LABELS
from tvmap.tables import interval, mean_std, number

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
STUDIES = sorted(path.parent.parent for path in ROOT.glob("results/reference/*/tables/summary.csv"))


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


def test_every_published_study_has_its_row_and_links_lead_somewhere():
    assert STUDIES
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_nothing_is_left_to_fill_in():
    assert "@@" not in README
