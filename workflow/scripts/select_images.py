"""Choose the images of a study and write its manifest."""

from typing import TYPE_CHECKING

from tvmap import archives, manifest, sources
from tvmap.logs import logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(
    source, category, archive_path, folder_path, counts, val_ids, size, seed, manifest_path, fold=None, listed=None
):
    """Write the manifest of `counts` images per split; see `tvmap.sources.opened`, `tvmap.manifest.build`.

    listed: the manifest of another study, to take its images and splits, if any.
    """
    rows = manifest.read(listed) if listed else None
    with sources.opened(source, category, archive_path, folder_path, size) as candidates:
        manifest.write(manifest_path, manifest.build(candidates, counts, val_ids, seed, fold, rows))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        if snakemake.params.source == "mendeley":
            archives.check_download(snakemake.input.archive, snakemake.params.n_bytes, snakemake.params.archive)
        main(
            snakemake.params.source,
            snakemake.params.category,
            snakemake.input.get("archive"),
            snakemake.params.folder,
            snakemake.params.counts,
            snakemake.params.val_ids,
            snakemake.params.size,
            snakemake.params.seed,
            snakemake.output[0],
            snakemake.params.fold,
            snakemake.input.get("listed"),
        )
