"""Put the shards of a grid together, in the order of the images, and check that no image and no weight is missing."""

from typing import TYPE_CHECKING

import pandas as pd

from tvmap import stacks, tabular
from tvmap.curve import CURVE
from tvmap.errors import StudyError
from tvmap.logs import logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(shard_paths, noisy_path, output_path, n_values):
    """The result does not depend on the number of shards."""
    ids = list(stacks.load(noisy_path)["ids"])
    # Shards may outnumber images: one without any has no row.
    shards = [tabular.read_table(path, CURVE, may_have_no_row=True) for path in shard_paths]
    rows = pd.concat([shard for shard in shards if len(shard)] or shards)
    counts = rows.groupby("id")["weight"].nunique()
    if set(counts.index) != set(ids) or len(rows) != len(ids) * n_values or not (counts == n_values).all():
        raise StudyError(
            f"{shard_paths[0]} and the other shards: {len(rows)} rows, not {n_values} an image; delete them"
        )
    rows["position"] = rows["id"].map({image_id: position for position, image_id in enumerate(ids)})
    tabular.write_table(output_path, rows.sort_values(["position", "weight"]).drop(columns="position"))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(snakemake.input.shards, snakemake.input.noisy, snakemake.output[0], snakemake.params.n_values)
