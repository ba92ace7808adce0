"""Build the explorer of a study: its example images with every λ of the grid beside the map."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tvmap import explorer, stacks, tabular
from tvmap.errors import StudyError
from tvmap.files import write_atomically
from tvmap.logs import log, logged_to
from tvmap.methods import protocol_label

if TYPE_CHECKING:
    from snakemake.script import snakemake


GRID = {"weights": "weight", "psnr": "psnr", "ssim": "ssim"}


def main(tables, example_paths, sweep_paths, template_path, output_path, study, penalty, protocols):
    """`tables`: {per_image, grid, scalar_choice: file}; paths and `protocols`, the levels: {protocol: …}.

    `penalty`: of the maps.
    """
    columns = [*tabular.IMAGE, "method", "noise_level", "psnr", "ssim"]
    per_image = _of_draw_0(tabular.read_table(tables["per_image"], columns)).set_index(["protocol", "id"]).sort_index()
    grid = _of_draw_0(tabular.read_table(tables["grid"], tabular.GRID))
    grid = grid.set_index(["protocol", "id"]).sort_index()
    choice = _of_draw_0(tabular.read_table(tables["scalar_choice"], [*tabular.IMAGE, *explorer.CHOSEN]))
    choice = choice.set_index(["protocol", "id"])
    cases = []
    for protocol, level in protocols.items():
        pixels, sweep = stacks.load_examples(example_paths[protocol]), stacks.load(sweep_paths[protocol])
        for at, image_id in enumerate(pixels["ids"]):  # the first one is that of median gain
            scores = grid.loc[[(protocol, image_id)]].sort_values("weight")
            if sweep["ids"][at] != image_id or not np.allclose(sweep["weights"], scores["weight"], atol=1e-9):
                raise StudyError(f"{sweep_paths[protocol]}: not the images and λ of the grid; delete it and run again")
            measured = per_image.loc[[(protocol, image_id)]].set_index("method")
            chosen = choice.loc[(protocol, image_id)]
            names = pixels["map_names"].tolist()
            case = {
                "protocol": protocol,
                "level": protocol_label(level),
                "label": f"{pixels['kinds'][at]} gain: {image_id}, level {measured['noise_level'].iloc[0]:.2f}",
                **{name: scores[column].to_numpy() for name, column in GRID.items()},
                "map_psnr": measured.loc["map", "psnr"],
                "map_ssim": measured.loc["map", "ssim"],
                "noisy_psnr": measured.loc["noisy", "psnr"],
                "chosen": [
                    {"key": key, "name": name, "weight": float(chosen[column])}
                    for column, (key, name) in explorer.CHOSEN.items()
                ],
                **{name: pixels[name][at] for name in ("clean", "noisy", "map")},
                "maps": dict(zip(names, pixels["maps"][at], strict=True)),
                "scalar": sweep["images"][at],
            }
            cases.append(case)
    page = explorer.render(study, penalty, cases, Path(template_path).parent)
    write_atomically(output_path, page)
    log.info("%d images, %.1f MB", len(cases), len(page.encode()) / 1e6)


def _of_draw_0(table):
    return table[table["draw"] == 0]


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        tables = {name: snakemake.input[name] for name in ("per_image", "grid", "scalar_choice")}
        inputs, params, protocols = snakemake.input, snakemake.params, snakemake.params.protocols
        examples, sweeps = (dict(zip(protocols, inputs[name], strict=True)) for name in ("examples", "sweeps"))
        output = snakemake.output[0]
        main(tables, examples, sweeps, inputs.template, output, params.study, params.penalty, protocols)
