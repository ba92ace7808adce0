"""Make the clean images of one split from the manifest: cropped, resized, grey, in [0, 1]."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from tvmap import manifest, noise, sources, stacks
from tvmap.errors import StudyError
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(source, category, archive_path, folder_path, manifest_path, split, size, output_path, views=1, seed=0):
    """Write `ids`, `sha256` of the files (n,) and `images` (n, size, size) of `split`, from the manifest's files alone.

    With more than one of the `views` of each image, `views` (n, views − 1, size, size) holds the others.
    """
    rows = [row for row in manifest.read(manifest_path) if row["split"] == split]
    images, others = [], []
    with sources.opened(source, category, archive_path, folder_path, size) as candidates:
        # Of two members of one name the manifest has the first.
        by_name = {(candidate.source_file, candidate.id): candidate for candidate in reversed(candidates)}
        for row in rows:
            candidate = by_name.get((row["source_file"], row["id"]))
            data = candidate and candidate.read()
            if data is None or hashlib.sha256(data).hexdigest() != row["sha256"]:
                raise StudyError(
                    f"{row['source_file']}: is missing or no longer the file in {manifest_path}; "
                    "restore it, or delete the manifest to choose anew"
                )
            images.append(candidate.grey(size, data))
            if views > 1:
                random = noise.generator(seed, "views", row["id"])
                others.append(candidate.views(size, views - 1, random, data))
    names = {name: np.array([row[name] for row in rows]) for name in ("id", "sha256")}
    more = {"views": np.stack(others)} if others else {}
    stacks.save(output_path, ids=names["id"], sha256=names["sha256"], images=np.stack(images), **more)
    log.info("%s: %d images of %d x %d", split, len(images), size, size)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(
            snakemake.params.source,
            snakemake.params.category,
            snakemake.input.get("archive"),
            snakemake.params.folder,
            snakemake.input.manifest,
            snakemake.wildcards.split,
            snakemake.params.size,
            snakemake.output[0],
            snakemake.params.views,
            snakemake.params.seed,
        )
