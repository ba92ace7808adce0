"""Collect the tables of the study from its measurements: per image, Table 1, paired gains, grid, choices, history."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tvmap import tables
from tvmap.errors import StudyError
from tvmap.intervals import bootstrap_interval
from tvmap.logs import log, logged_to
from tvmap.methods import METHODS

if TYPE_CHECKING:
    from snakemake.script import snakemake

TEXT = {"id": str, "patient": str}


def main(metric_paths, choice_paths, grid_paths, history_path, folder, protocols, draws, report, seed):
    """`…_paths`: a file for each protocol and draw, in this order; `report`: confidence and bootstrap of the config."""
    keys = [{"protocol": protocol, "draw": draw} for protocol in protocols for draw in draws]
    per_image = pd.concat([pd.read_csv(path, dtype=TEXT) for path in metric_paths])
    if not per_image[["psnr", "ssim", "gap"]].notna().all(axis=None):
        raise StudyError(f"{metric_paths[0]} or the next: a value is missing; delete it and run again")
    choices, grids = (
        pd.concat([pd.read_csv(path, dtype=TEXT).assign(**key) for path, key in zip(paths, keys, strict=True)])
        for paths in (choice_paths, grid_paths)
    )
    options = {"resamples": report["bootstrap"], "confidence": report["confidence"], "seed": seed}
    found = {
        "per_image": per_image,
        "summary": summarise(per_image, options),
        "gains": paired_gains(per_image, options),
        "grid": grids[["protocol", "draw", "id", "weight", "psnr", "ssim"]],
        "scalar_choice": choices[["protocol", "draw", *choices.columns.drop(["protocol", "draw"])]],
        "training_history": pd.read_csv(history_path),
    }
    for name, table in found.items():
        table.to_csv(Path(folder) / f"{name}.csv", index=False)
    percent = 100 * report["confidence"]
    note = tables.NOTE.format(percent=percent, resamples=report["bootstrap"])
    for name, title, head, rows in (
        ("summary", "Mean PSNR and SSIM", tables.summary_head(percent), tables.summary_table(found["summary"])),
        ("gains", "Paired gains of the map", tables.gains_head(percent), tables.gains_table(found["gains"])),
        ("scalar_choice", "The scalar weights", tables.choices_head(), tables.choices_table(found["scalar_choice"])),
    ):
        (Path(folder) / f"{name}.md").write_text(tables.markdown(title, head, rows, note), encoding="utf-8")
    for row in tables.summary_table(found["summary"]):
        log.info("%s", "  ".join(row))


def summarise(per_image, options):
    """Table 1: mean, standard deviation (ddof = 1) and interval of each metric for every protocol and method."""
    rows = []
    for (protocol, method), part in per_image.groupby(["protocol", "method"], sort=False):
        row = {"protocol": protocol, "method": method, "n": len(part)}
        for metric in ("psnr", "ssim"):
            low, high = bootstrap_interval(part[metric].to_numpy(), part["patient"], **options)
            row |= {f"{metric}_mean": part[metric].mean(), f"{metric}_std": part[metric].std(ddof=1)}
            row |= {f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def paired_gains(per_image, options):
    """Map minus each other method, image by image: mean, standard deviation, interval, share of images gained."""
    rows = []
    for protocol, part in per_image.groupby("protocol", sort=False):
        by_method = {method: rows.set_index(["draw", "id"]) for method, rows in part.groupby("method")}
        for baseline in (method for method in METHODS if method != "map"):
            for metric in ("psnr", "ssim"):
                difference = by_method["map"][metric] - by_method[baseline][metric]
                patients = by_method["map"]["patient"][difference.index]
                low, high = bootstrap_interval(difference.to_numpy(), patients, **options)
                row = {"protocol": protocol, "baseline": baseline, "metric": metric, "n": len(difference)}
                row |= {"mean": difference.mean(), "std": difference.std(ddof=1), "low": low, "high": high}
                rows.append({**row, "win_rate": (difference > 0).mean()})
    return pd.DataFrame(rows)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        paths = [snakemake.input[name] for name in ("metrics", "choices", "grids", "history")]
        params = [snakemake.params[name] for name in ("protocols", "draws", "report", "seed")]
        main(*paths, Path(snakemake.output.summary).parent, *params)
