"""Learn λ from the training images' grids: one for all images, or one for each from features of the noisy image."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tvmap import features, stacks, tabular
from tvmap.curve import CURVE, best_on_average, mean_psnr
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(train_path, train_grid_path, manifest_path, noisy_path, output_path, candidates_path, method):
    """Write ids and weight (n,) of the noisy images: the λ of the best mean PSNR, or a regression of log λ.

    And the candidates with what the choice was made by, the mean PSNR of each λ or each model's error of log λ, the
    chosen one marked.
    """
    train, noisy = stacks.load(train_path), stacks.load(noisy_path)
    curves = tabular.read_table(train_grid_path, CURVE)
    if method == "scalar-train":
        candidates = mean_psnr(curves)
        chosen, mean, on_edge = best_on_average(candidates)
        weights = np.full(len(noisy["ids"]), chosen)
        log.info("λ fixed on %d training images: %g (%.3f dB)", len(train["ids"]), chosen, mean)
        if on_edge:
            log.warning("grid: it lies on the edge; widen grid.minimum or grid.maximum")
    else:
        best = curves.loc[curves.groupby("id", sort=False)["psnr"].idxmax()].set_index("id")["weight"]
        patients = tabular.read_table(manifest_path, ("id", "patient")).set_index("id")["patient"]
        ids = train["ids"]
        learned = features.fit(_features(train), best[ids].to_numpy(), patients[ids].to_numpy())
        weights = features.predict(learned, _features(noisy))
        candidates, chosen = pd.Series(learned.errors, name="error"), learned.name
        log.info("%s of %d features: error of log λ %.3f", learned.name, len(features.FEATURES), learned.error)
    stacks.save(output_path, ids=noisy["ids"], weight=weights)
    table = candidates.rename_axis("candidate").reset_index()
    tabular.write_table(candidates_path, table.assign(chosen=table["candidate"] == chosen))


def _features(stack):
    return np.stack([features.features(z) for z in stack["images"]])


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        paths = [snakemake.input[name] for name in ("train", "train_grid", "manifest", "noisy")]
        main(*paths, snakemake.output.weight, snakemake.output.candidates, snakemake.wildcards.method)
