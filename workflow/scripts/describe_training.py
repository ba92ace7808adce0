"""Write what the training needs as a file, so that a machine with a GPU but without Snakemake can do it."""

import json
from typing import TYPE_CHECKING

from tvmap.files import write_atomically
from tvmap.logs import logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(output_path, **arguments):
    """`arguments`: those of `main` in train.py, all but the folder; the device is chosen there."""
    write_atomically(output_path, json.dumps(arguments, indent=2) + "\n")


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        how = {name: snakemake.config["training"][name] for name in ("threads", "checkpoint_seconds", "wandb")}
        main(
            snakemake.output[0],
            inputs=[snakemake.input[name] for name in ("clean_train", "clean_val", "noisy_val")],
            settings=snakemake.params.settings,
            store=snakemake.params.store,
            code_version=snakemake.params.version,
            how=how,
        )
