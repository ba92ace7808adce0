"""Pick the images of median, best and worst gain of each protocol, by rule, and gather their pixels for the figures."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tvmap import stacks, tables, tabular
from tvmap.logs import logged_to
from tvmap.methods import ORACLES

if TYPE_CHECKING:
    from snakemake.script import snakemake

_COLUMNS = {"noisy": "noisy", "scalar": ORACLES["psnr"], "map": "map"}
_NEEDED = (*tabular.IMAGE, "noise_level", "method", "weight_mean", "psnr")


def main(per_image_path, clean_path, stack_paths, table_path, pixel_paths):
    """`stack_paths`: {protocol: {noisy, scalar, map, weights: file}} of draw 0; the scalar is the PSNR oracle."""
    per_image = tabular.read_table(per_image_path, _NEEDED, tabular.NO_WEIGHT)
    clean = stacks.load(clean_path)
    position = {image_id: index for index, image_id in enumerate(clean["ids"])}
    rows = []
    for protocol, paths in stack_paths.items():
        part = per_image[(per_image["protocol"] == protocol) & (per_image["draw"] == 0)]
        psnr = part.pivot(index="id", columns="method", values="psnr")
        gain = (psnr["map"] - psnr[ORACLES["psnr"]]).sort_values(kind="stable")
        ids = [gain.index[len(gain) // 2], gain.index[-1], gain.index[0]]
        scalar = part[part["method"] == ORACLES["psnr"]].set_index("id")
        for kind, image_id in zip(tabular.CHOSEN, ids, strict=True):
            row = {"protocol": protocol, "kind": kind, "id": image_id}
            row |= {"noise_level": scalar.loc[image_id, "noise_level"], "gain_db": gain[image_id]}
            row |= {f"psnr_{name}": psnr.loc[image_id, method] for name, method in _COLUMNS.items()}
            rows.append({**row, "weight_scalar": scalar.loc[image_id, "weight_mean"]})
        chosen = [position[image_id] for image_id in ids]
        pixels = {name: stacks.load(paths[name])["images"][chosen] for name in ("noisy", "scalar", "map")}
        weights = stacks.single_maps(stacks.load(paths["weights"]))
        maps = np.stack([weight[chosen] for weight in weights.values()], axis=1)
        pixels |= {"clean": clean["images"][chosen], "map_names": np.array(list(weights)), "maps": maps}
        stacks.save(pixel_paths[protocol], ids=np.array(ids), kinds=np.array(tabular.CHOSEN), **pixels)
    table = pd.DataFrame(rows)
    tabular.write_table(table_path, table)
    tables.write_markdown(table_path, "The example images", tables.examples_table(table))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        names = ("noisy", "scalar", "map", "weights")
        by_protocol = zip(snakemake.params.protocols, *(snakemake.input[name] for name in names), strict=True)
        stack_paths = {protocol: dict(zip(names, paths, strict=True)) for protocol, *paths in by_protocol}
        pixels = dict(zip(snakemake.params.protocols, snakemake.output.pixels, strict=True))
        main(snakemake.input.per_image, snakemake.input.clean, stack_paths, snakemake.output.table, pixels)
