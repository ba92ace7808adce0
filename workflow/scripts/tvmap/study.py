"""What a study's configuration says: of its network, its trainings and its variants, which are studies too."""

import copy
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from .architecture import CHANNELS, N_PARAMETERS
from .methods import BY_NOISE, CLASSICAL, LEARNED, base

# Keys of `network` that trained weights belong to; `start` is of their training alone.
OF_WEIGHTS = ("up_bound", "maps", "penalty", "padding", "noise_estimate", "steps")


def shape(config: Mapping[str, Any]) -> tuple[tuple[int, ...], int]:
    """Channels of a study's network, input to output, and number of its parameters.

    Noise is a second input; a learned ratio of the solver's steps is one more parameter.
    """
    learned = config["network"].get("steps") == "learned"
    if config["network"].get("noise_estimate") == "input":
        return (2, *CHANNELS[1:]), N_PARAMETERS + 9 * CHANNELS[1] + learned
    return CHANNELS, N_PARAMETERS + learned


def reported(config: Mapping[str, Any]) -> str:
    """Which weights a study reports, "last" or "best"; of a network that was trained before, by its file's name."""
    given = config["network"].get("weights")  # earlier publications have no such key
    return PurePath(given).stem if given else config["training"]["report"]


def tuned(baselines: Iterable[str]) -> list[str]:
    """The methods among `baselines` that have something to choose: a strength, λ or a model of λ."""
    return [name for name in baselines if base(name) in (*CLASSICAL, *LEARNED, *BY_NOISE)]


def trains(config: Mapping[str, Any], overlay: Mapping[str, Any] | None = None) -> bool:
    """Whether the study with this `config`, or its variant with this `overlay`, trains a network of its own."""
    return not (config["network"] | ((overlay or {}).get("network") or {})).get("weights")


def iterations(config: Mapping[str, Any]) -> tuple[dict[str, int], ...]:
    """Of the study, "", and the variants that differ in the number of iterations T alone: {variant: T}, twice.

    The first are those that trained with another T, the second those that solve with another T for the maps of the
    study's own weights; a study without such a variant has an empty dict.
    """
    trained, solved = {"": config["training"]["iterations"]}, {"": config["solver"]["iterations"]}
    same = {"network": {"weights": "study"}} if trains(config) else {}  # how a variant asks for the study's network
    places = [(solved, "solver", same)] + ([(trained, "training", {})] if trains(config) else [])
    for name, overlay in (config.get("variants") or {}).items():
        for found, section, network in places:
            iterations = (overlay.get(section) or {}).get("iterations")
            if overlay == network | {section: {"iterations": iterations}}:
                found[name] = iterations
    return tuple(found if len(found) > 1 else {} for found in (trained, solved))


def variants(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{name: configuration} of the variants of a study: its keys merged in, the study's name before its own.

    `network.weights: study` becomes the path of the study's reported weights. A variant has no baselines but its own.
    """
    found = {}
    for name, overlay in config["variants"].items():
        merged = merge(config, {"baselines": [], **overlay}) | {"study": f"{config['study']}.{name}", "variants": {}}
        if merged["network"]["weights"] == "study":
            weights = f"results/{config['study']}/model/{config['training']['report']}.safetensors"
            merged["network"] = merged["network"] | {"weights": weights}
        drop_protocols(merged)
        found[name] = merged
    return found


def comparable(study: Mapping[str, Any], variant: Mapping[str, Any]) -> list[str]:
    """Names of the noise protocols in which two configurations have the same noisy images."""
    same = all(study[key] == variant[key] for key in ("data", "seed"))
    same &= study["noise"]["kind"] == variant["noise"]["kind"]
    levels = variant["noise"]["protocols"]
    return [name for name, level in study["noise"]["protocols"].items() if same and levels.get(name) == level]


def merge(config: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with the keys of `overlay`, dictionaries merged key by key as Snakemake does it; neither is changed."""
    merged = dict(config)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


def drop_protocols(config: Mapping[str, Any]) -> None:
    """Take out of `config` the noise protocols that are null: an overlay, merged key by key, cannot do it otherwise."""
    noise = config.get("noise")
    if isinstance(noise, dict) and isinstance(noise.get("protocols"), dict):
        noise["protocols"] = {name: level for name, level in noise["protocols"].items() if level is not None}
