"""The model card of published weights, from the study's own tables and provenance: no number of it is typed."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import jinja2

from . import formats, machine, origins, provenance, tabular
from .files import PathLike
from .methods import ORACLES, protocol_label
from .noise import Level
from .study import reported

CARD = "model/README.md"
TEMPLATE = Path(__file__).parents[2] / "report" / "model_card.md.j2"


def render(folder: PathLike) -> str:
    """The card's Markdown for the folder of a study, finished or published."""
    folder = Path(folder)
    origin = provenance.read(folder / "provenance.json")
    config, training = origin["config"], origin["training"]
    level = config["noise"]["train_level"]
    low, high = level if isinstance(level, list) else (level, level)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    # An early provenance says where and by which code the training ran beside what it says of the training.
    where, versions, code = (training.get(k, origin.get(k)) for k in ("machine", "versions", "code_version"))
    threads = training.get("threads", config["training"]["threads"])
    network = {"penalty": "tv", "maps": 1} | config["network"]  # an early provenance says nothing of these
    settings = {**network, "precision": config["training"]["precision"]}
    names = ("penalty", "maps", "noise_estimate", "start", "steps", "up_bound", "padding", "precision")
    source = origins.origin(config["data"]["source"])
    weights = folder / "model" / f"{reported(config)}.safetensors"
    return template.render(
        study=origin["study"],
        reference=origin["study"] == provenance.REFERENCE,
        network=network,
        n_parameters=f"{n_numbers(weights):,}",
        weights=f"results/reference/{origin['study']}/model/{weights.name}",
        data=source.images.format(category=config["data"]["category"].lower()),
        group=source.group,
        known=source.known,
        x_rays=source.x_rays,
        n=origin["data"]["n"],
        size=config["data"]["size"],
        levels=f"{low:g}" if low == high else f"{low:g} to {high:g}",
        relative=config["noise"]["kind"] == "relative",
        epochs=training["epochs"],
        steps=f"{training['steps']:,}",
        duration=formats.duration(training["seconds"]),
        machine=f"{threads} threads of {where['cpu']}" if training["device"] == "cpu" else training["device"],
        iterations=config["training"]["iterations"],
        options=", ".join(f"{name} {settings[name]}" for name in names if name in settings),
        versions=machine.in_list(versions),
        code=code,
        percent=f"{100 * config['report']['confidence']:g}",
        n_weights=config["grid"]["values"],
        rows=_rows(folder, config["noise"]["protocols"]),
    )


def n_numbers(path: PathLike) -> int:
    """How many numbers a safetensors file holds, by its header: 8 bytes of length, then JSON with a shape each."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _rows(folder: Path, protocols: Mapping[str, Level]) -> Iterator[list[str]]:
    summary = tabular.read_table(folder / "tables/summary.csv", ["protocol", "method", "psnr_mean", "ssim_mean"])
    columns = ["protocol", "baseline", "metric", "mean", "low", "high", "win_rate"]
    gains = tabular.read_table(folder / "tables/gains.csv", columns, may_be_empty=["low", "high"])  # of one patient
    summary = summary.set_index(["protocol", "method"])
    gains = gains[gains["metric"] == "psnr"].set_index(["protocol", "baseline"])
    for protocol, level in protocols.items():
        cells = [protocol_label(level)]
        for method in ("noisy", ORACLES["psnr"], "map"):
            row = summary.loc[(protocol, method)]
            cells.append(f"{formats.number(row['psnr_mean'], 2)} ({formats.number(row['ssim_mean'], 3)})")
        gain = gains.loc[(protocol, ORACLES["psnr"])]
        mean = formats.number(gain["mean"], 2, True)
        if math.isfinite(gain["low"]):
            mean += f" {formats.interval(gain['low'], gain['high'], 2, True)}"
        yield [*cells, mean, f"{100 * gain['win_rate']:.0f} %"]
