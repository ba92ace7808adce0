"""Draw one figure of `tvmap.figures` with the script that the list names."""

import importlib
from typing import TYPE_CHECKING

from tvmap.logs import logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(script, inputs, settings, png_path, pdf_path):
    """`script`: a module beside this one; `inputs`, `settings`: keyword arguments of its main function."""
    importlib.import_module(script).main(**inputs, **settings, png_path=png_path, pdf_path=pdf_path)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(snakemake.params.script, inputs, snakemake.params.settings, snakemake.output.png, snakemake.output.pdf)
