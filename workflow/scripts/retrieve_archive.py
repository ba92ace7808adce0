"""Download the archive of images, with its size and checksum verified."""

from typing import TYPE_CHECKING

from tvmap import download
from tvmap.logs import logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(url, output_path, n_bytes, sha256):
    """Write the file at `url` to `output_path`; see `tvmap.download.fetch`."""
    download.fetch(url, output_path, n_bytes, sha256)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(snakemake.params.url, snakemake.output[0], snakemake.params.n_bytes, snakemake.params.sha256)
