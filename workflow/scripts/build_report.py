"""The report page of a study, one HTML file, from its tables, figures and provenance."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from tvmap import page, provenance
from tvmap.files import write_atomically
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(table_paths, figures_folder, provenance_path, template_path, looks_path, output_path):
    """Write the page. `table_paths`: CSV files, known by their names; beside the template lie the styles."""
    with open(looks_path, newline="", encoding="utf-8") as file:
        looks = list(csv.DictReader(file))
    tables = page.read_tables(table_paths)
    html = page.render(tables, figures_folder, provenance.read(provenance_path), template_path, looks)
    write_atomically(output_path, html)
    log.info("%s: %.1f MB, opens without a network", output_path, len(html.encode()) / 1e6)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(
            snakemake.input.tables,
            Path(snakemake.input.figures[0]).parent,
            snakemake.input.provenance,
            snakemake.input.template,
            snakemake.input.looks,
            snakemake.output[0],
        )
