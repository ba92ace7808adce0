"""A study and its variants: what each changes, on which images, by how much."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from . import significance
from .intervals import bootstrap_interval
from .methods import ORACLES
from .provenance import PATHS
from .tabular import IMAGE

COLUMNS = (*IMAGE, "patient", "method", "psnr", "ssim")
REPEATS = "all together"  # the name of the row over repetitions of one recipe: other folds, other seeds


def described(overlay: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """The keys of an overlay as text: training.crop: 128, solver.iterations: 64."""
    parts = []
    for key, value in overlay.items():
        nested = isinstance(value, dict) and value
        text = Path(value).name if key in PATHS and value else json.dumps(value, ensure_ascii=False)
        parts.append(described(value, (*path, key)) if nested else f"{'.'.join((*path, key))}: {text}".replace('"', ""))
    return ", ".join(parts)


def repeats(overlay: Mapping[str, Any]) -> bool:
    """Whether a variant repeats the study: another fold or seed of the training, trained anew, and nothing else."""
    changed = [(key, name) for key, value in overlay.items() for name in (value if isinstance(value, dict) else [""])]
    anew = {("network", "weights")} if (overlay.get("network") or {"weights": ""}).get("weights") is None else set()
    return set(changed) <= {("data", "fold"), ("training", "seed")} | anew


def from_other_seeds(overlays: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the variants that train the study's own recipe on its own images from another seed."""
    return [name for name, overlay in overlays.items() if repeats(overlay) and "data" not in overlay]


def with_gains(table: pd.DataFrame, study: pd.DataFrame) -> pd.DataFrame:
    """The rows of the map with the same image's oracle λ, of this table or, where it has none, of the `study`."""
    by_method = {method: part.set_index(IMAGE) for method, part in table.groupby("method")}
    scalars = {method: part.set_index(IMAGE) for method, part in study.groupby("method")} | by_method
    rows = by_method["map"][["patient", "psnr", "ssim"]].copy()
    for metric in ("psnr", "ssim"):
        rows[f"oracle_{metric}"] = scalars[ORACLES[metric]][metric]
        rows[f"gain_{metric}"] = rows[metric] - rows[f"oracle_{metric}"]
    return rows


def compare(
    images: Mapping[str, pd.DataFrame], comparable: Mapping[str, Collection[str]], options: Mapping[str, Any]
) -> pd.DataFrame:
    """One row a variant, protocol and metric; differences to the study are paired by image and noise draw.

    Args:
        images: {variant: table of measurements}, the study under "".
        comparable: {variant: protocols whose noisy images are the study's}; others have no difference.
        options: of `bootstrap_interval`.
    """
    study = with_gains(images[""], images[""])
    rows = []
    for name, table in images.items():
        variant = with_gains(table, images[""])
        for protocol, part in variant.groupby(level="protocol", sort=False):
            for metric in ("psnr", "ssim"):
                row = {"variant": name, "protocol": protocol} | _row(part, metric, options)
                paired = (part[metric] - study[metric].reindex(part.index)).dropna() if name else pd.Series(dtype=float)
                if protocol in comparable[name] and len(paired) == len(part):
                    low, high = bootstrap_interval(paired.to_numpy(), part["patient"], **options)
                    row |= {"difference": paired.mean(), "difference_low": low, "difference_high": high}
                    row["p_value"] = significance.signed_rank_p(paired.groupby(part["patient"]).mean())
                rows.append(row)
    found = pd.DataFrame(rows)
    for column in ("difference", "difference_low", "difference_high", "p_value"):
        found[column] = found.get(column)
    # Each variant and protocol is a test of its own.
    found["p_holm"] = found.groupby("metric")["p_value"].transform(significance.holm)
    return found


def together(images: Mapping[str, pd.DataFrame], options: Mapping[str, Any]) -> pd.DataFrame:
    """The rows over all repetitions, and the standard deviation between them (ddof = 1) of the mean gain."""
    repetitions = {name: with_gains(table, images[""]) for name, table in images.items()}
    rows = []
    for protocol, part in pd.concat(repetitions).groupby(level="protocol", sort=False):
        for metric in ("psnr", "ssim"):
            gains = (repetition[f"gain_{metric}"].xs(protocol, level="protocol") for repetition in repetitions.values())
            between = [gain.mean() for gain in gains]
            row = {"variant": REPEATS, "protocol": protocol} | _row(part, metric, options)
            rows.append(row | {"gain_std_between": pd.Series(between).std(ddof=1)})
    return pd.DataFrame(rows)


def _row(part: pd.DataFrame, metric: str, options: Mapping[str, Any]) -> dict[str, Any]:
    row = {"metric": metric, "n": len(part)}
    for name, column in (("mean", metric), ("oracle", f"oracle_{metric}"), ("gain", f"gain_{metric}")):
        row[name] = part[column].mean()
        if name != "oracle":
            interval = bootstrap_interval(part[column].to_numpy(), part["patient"], **options)
            row |= dict(zip((f"{name}_low", f"{name}_high"), interval, strict=True))
    return row
