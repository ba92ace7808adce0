"""Methods compared over the test images: means, paired differences, tests, the share of the way to the oracle map."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from . import significance
from .intervals import bootstrap_interval, bootstrap_ratio
from .methods import LABELS, ORACLES, solves
from .tabular import BY_LEVEL

GROUPS, FEWEST = 4, 5  # of noise levels: so many of equally many images, none of fewer images


def summarise(per_image: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Table 1: mean, standard deviation (ddof = 1) and interval of each metric for every protocol and method.

    gain: mean paired PSNR difference to the oracle λ, in dB; share: of the way from there to the oracle map.
    """
    rows = []
    for protocol, images in per_image.groupby("protocol", sort=False):
        by_method = dict(list(images.set_index(["draw", "id"]).groupby("method", sort=False)))
        psnr = {method: part["psnr"] for method, part in by_method.items()}
        for method, part in by_method.items():
            row = {"protocol": protocol, "method": method, "n": len(part)}
            for metric in ("psnr", "ssim"):
                low, high = bootstrap_interval(part[metric].to_numpy(), part["patient"], **options)
                row |= {f"{metric}_mean": part[metric].mean(), f"{metric}_std": part[metric].std(ddof=1)}
                row |= {f"{metric}_low": low, f"{metric}_high": high}
            rows.append({**row, **_over_oracle(psnr, part, options)})
    return pd.DataFrame(rows)


def _over_oracle(psnr: Mapping[str, pd.Series], part: pd.DataFrame, options: Mapping[str, Any]) -> dict[str, float]:
    """How far above the scalar oracle the method of `part` is in PSNR, and what share of the way to the oracle map."""
    start = psnr[ORACLES["psnr"]][part.index]
    gone = part["psnr"] - start
    low, high = bootstrap_interval(gone.to_numpy(), part["patient"], **options)
    gain = {"gain": gone.mean(), "gain_low": low, "gain_high": high}
    names = ("share", "share_low", "share_high")
    if "map-oracle" not in psnr:
        return gain | dict.fromkeys(names, float("nan"))
    way = psnr["map-oracle"][part.index] - start
    interval = bootstrap_ratio(gone.to_numpy(), way.to_numpy(), part["patient"], **options)
    return gain | dict(zip(names, (gone.mean() / way.mean(), *interval), strict=True))


def paired_gains(per_image: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Map minus each other method, image by image: mean, standard deviation, interval, share of images gained, tests.

    The tests take the mean over the images and noise draws of a patient, as these are not independent; Holm's
    correction is over the protocols.
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
                of_patients = difference.groupby(patients).mean()
                row |= {"win_rate": (difference > 0).mean(), "effect_size": significance.effect_size(of_patients)}
                rows.append({**row, "p_value": significance.signed_rank_p(of_patients)})
    gains = pd.DataFrame(rows)
    gains["p_holm"] = gains.groupby(["baseline", "metric"])["p_value"].transform(significance.holm)
    return gains


def by_level(per_image: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Map minus each other method in PSNR (dB), for groups of images in the order of their noise level.

    Of protocols whose level differs from image to image; GROUPS groups of equally many pairs of image and noise draw,
    fewer where a group would have less than FEWEST. One row a protocol, group and baseline: lowest and highest level,
    n, mean, interval and share of pairs in which the map is ahead. No row where all levels are the same.
    """
    rows = []
    for protocol, part in per_image.groupby("protocol", sort=False):
        images = part[part["method"] == "map"].sort_values("noise_level", kind="stable")
        if images["noise_level"].nunique() < 2:
            continue
        psnr = part.pivot(index=["draw", "id"], columns="method", values="psnr")
        n_groups = max(1, min(GROUPS, len(images) // FEWEST))
        for group, positions in enumerate(np.array_split(np.arange(len(images)), n_groups), 1):
            members = images.iloc[positions]
            found = psnr.loc[list(zip(members["draw"], members["id"], strict=True))]
            levels = {"level_low": members["noise_level"].min(), "level_high": members["noise_level"].max()}
            for baseline in (method for method in LABELS if method in found and method != "map"):
                difference = (found["map"] - found[baseline]).to_numpy()
                low, high = bootstrap_interval(difference, members["patient"], **options)
                row = {"protocol": protocol, "group": group, "baseline": baseline, **levels, "n": len(members)}
                row |= {"mean": difference.mean(), "low": low, "high": high, "win_rate": (difference > 0).mean()}
                rows.append(row)
    return pd.DataFrame(rows, columns=BY_LEVEL)


def rms_bound(gap: float, pixels: int) -> float:
    """How far a result with this primal-dual gap can be from the minimiser, root mean square: √(2 gap / pixels)."""
    return math.sqrt(2 * max(gap, 0) / pixels)


def gaps(per_image: pd.DataFrame, pixels: int) -> pd.DataFrame:
    """Primal-dual gaps by protocol and method: median and largest relative one, and the bound of the distance.

    bound_to_error: the bound of an image over its root mean square error, median and largest. Below 1 the image is
    surely nearer to the minimiser than to the clean image; above, the certificate says less than the error does.
    """
    solved = per_image[(per_image.method != "noisy") & per_image.method.map(solves)]  # λ = 0 is no problem to solve
    bound = solved.gap.map(lambda gap: rms_bound(gap, pixels))
    solved = solved.assign(bound=bound, bound_to_error=bound * 10 ** (solved.psnr / 20))  # 10^(−psnr/20): RMS error
    rows = [
        {
            "protocol": protocol,
            "method": method,
            "n": len(part),
            "relative_gap_median": part.relative_gap.median(),
            "relative_gap_max": part.relative_gap.max(),
            "rms_bound": part.bound.max(),
            "bound_to_error_median": part.bound_to_error.median(),
            "bound_to_error_max": part.bound_to_error.max(),
        }
        for (protocol, method), part in solved.groupby(["protocol", "method"], sort=False)
    ]
    return pd.DataFrame(rows)
