"""Collect the tables of the study from its measurements: per image, Table 1, paired gains, grid, choices, history."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tvmap import significance, tables, tabular
from tvmap.intervals import bootstrap_interval, bootstrap_ratio
from tvmap.logs import log, logged_to
from tvmap.methods import LABELS

if TYPE_CHECKING:
    from snakemake.script import snakemake

PER_IMAGE = ("protocol", "draw", "id", "patient", "noise_level", "method", "weight_mean", "psnr", "ssim")
PER_IMAGE = (*PER_IMAGE, "gap", "relative_gap")
CHOICE = ("id", "weight_fixed", *(f"{m}_edge" for m in ("psnr", "ssim")), "weight_psnr", "weight_ssim")
CHOICE = (*CHOICE, "weight_psnr_fine", "psnr_gain_fine", "weight_ssim_fine", "ssim_gain_fine")
HISTORY = ("epoch", "learning_rate", "train_loss", "val_loss", "val_psnr", "val_ssim")


def main(metric_paths, choice_paths, grid_paths, history_path, folder, protocols, draws, report, seed, source, size):
    """`…_paths`: a file for each protocol and draw, in this order; `report`: of the config."""
    keys = [{"protocol": protocol, "draw": draw} for protocol in protocols for draw in draws]
    per_image = pd.concat([tabular.read_table(path, PER_IMAGE, tabular.NO_WEIGHT) for path in metric_paths])
    choices, grids = (
        pd.concat([tabular.read_table(path, columns).assign(**key) for path, key in zip(paths, keys, strict=True)])
        for paths, columns in ((choice_paths, CHOICE), (grid_paths, tabular.CURVE))
    )
    options = {"resamples": report["bootstrap"], "confidence": report["confidence"], "seed": seed}
    found = {
        "per_image": per_image,
        "summary": summarise(per_image, options),
        "gains": paired_gains(per_image, options),
        "grid": grids[["protocol", "draw", "id", "weight", "psnr", "ssim"]],
        "scalar_choice": choices[["protocol", "draw", *choices.columns.drop(["protocol", "draw"])]],
        "gaps": tables.gaps(per_image, size**2),
        "training_history": tabular.read_table(history_path, HISTORY, may_be_empty=HISTORY[3:]),
    }
    for name, table in found.items():
        table.to_csv(Path(folder) / f"{name}.csv", index=False)
    note, percent = tables.note(source, report), 100 * report["confidence"]
    history = found["training_history"]
    first = tables.summary_head(percent, bool(found["summary"]["share"].notna().any()))
    for name, title, head, rows, below in (
        ("summary", "Mean PSNR and SSIM", first, tables.summary_table(found["summary"]), note),
        ("gains", "Paired gains of the map", tables.gains_head(percent), tables.gains_table(found["gains"]), note),
        ("scalar_choice", "Scalar weights", tables.choices_head(), tables.choices_table(found["scalar_choice"]), note),
        ("gaps", "Primal-dual gaps", tables.gaps_head(), tables.gaps_table(found["gaps"]), ""),
        ("training_history", "The training", tables.history_head(), tables.history_table(history), ""),
    ):
        tables.write_markdown(Path(folder) / f"{name}.csv", title, head, rows, below)
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
        rows.append({**row, **_share(per_image[per_image["protocol"] == protocol], part, options)})
    return pd.DataFrame(rows)


def _share(protocol, part, options):
    """Share in PSNR of the way from scalar oracle to oracle map that the method of `part` goes: a ratio of means."""
    key, names = ["draw", "id"], ("share", "share_low", "share_high")
    psnr = {method: rows.set_index(key)["psnr"] for method, rows in protocol.groupby("method")}
    if "map-oracle" not in psnr:
        return dict.fromkeys(names, float("nan"))
    start, rows = psnr["scalar-oracle-psnr"], part.set_index(key)
    way, gone = (psnr["map-oracle"] - start)[rows.index], rows["psnr"] - start[rows.index]
    interval = bootstrap_ratio(gone.to_numpy(), way.to_numpy(), rows["patient"], **options)
    return dict(zip(names, (gone.mean() / way.mean(), *interval), strict=True))


def paired_gains(per_image, options):
    """Map minus each other method, image by image: mean, standard deviation, interval, share of images gained, tests.

    The tests take the mean over the noise draws of an image, as these are not independent; Holm's correction is over
    the protocols.
    """
    rows = []
    for protocol, part in per_image.groupby("protocol", sort=False):
        by_method = {method: rows.set_index(["draw", "id"]) for method, rows in part.groupby("method")}
        for baseline in (method for method in LABELS if method in by_method and method != "map"):
            for metric in ("psnr", "ssim"):
                difference = by_method["map"][metric] - by_method[baseline][metric]
                patients = by_method["map"]["patient"][difference.index]
                low, high = bootstrap_interval(difference.to_numpy(), patients, **options)
                row = {"protocol": protocol, "baseline": baseline, "metric": metric, "n": len(difference)}
                row |= {"mean": difference.mean(), "std": difference.std(ddof=1), "low": low, "high": high}
                of_images = difference.groupby("id").mean()
                row |= {"win_rate": (difference > 0).mean(), "effect_size": significance.effect_size(of_images)}
                rows.append({**row, "p_value": significance.signed_rank_p(of_images)})
    gains = pd.DataFrame(rows)
    gains["p_holm"] = gains.groupby(["baseline", "metric"])["p_value"].transform(significance.holm)
    return gains


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        paths = [snakemake.input[name] for name in ("metrics", "choices", "grids", "history")]
        params = [snakemake.params[name] for name in ("protocols", "draws", "report", "seed", "source", "size")]
        main(*paths, Path(snakemake.output.summary).parent, *params)
