"""Download the archive of images, with its size and checksum verified."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tvmap import download
from tvmap.archives import kept_download
from tvmap.files import copy_atomically
from tvmap.logs import logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(url, output_path, n_bytes, sha256):
    """Write the file at `url` to `output_path`; see `tvmap.download.fetch`.

    The file itself lies in `archives.kept_download`: a rerun checks it and downloads nothing.
    """
    output_path, kept = Path(output_path), kept_download(output_path)
    download.fetch(url, kept, n_bytes, sha256)
    output_path.unlink(missing_ok=True)
    try:
        os.link(kept, output_path)
    except OSError:  # a file system without hard links
        copy_atomically(kept, output_path)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(snakemake.params.url, snakemake.output[0], snakemake.params.n_bytes, snakemake.params.sha256)
