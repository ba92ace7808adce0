"""The list of figures: which script draws each, from which files and with which settings of the study.

The workflow and `redraw_figures.py` both read this list, so names and inputs are stated once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .study import iterations, reported, shape, trains, tuned


@dataclass(frozen=True)
class Figure:
    """One figure: its script, its input files (argument name → path in the study's folder) and its settings."""

    script: str
    inputs: dict[str, str]
    settings: dict[str, Any]

    @property
    def has_pixels(self) -> bool:
        """Whether it shows pixels or maps of test images, so that not every source allows to publish it."""
        return "pixels_path" in self.inputs


_EXAMPLES = {"examples_path": "tables/examples.csv", "pixels_path": "examples/{protocol}.npz"}
_GRID = {
    "grid_path": "tables/grid.csv",
    "examples_path": "tables/examples.csv",
    "choice_path": "tables/scalar_choice.csv",
    "metrics_path": "tables/per_image.csv",
}
_METRICS = {"metrics_path": "tables/per_image.csv"}
_TEMPLATES = {  # name: (script, inputs, names of the settings it is given)
    "figure1_architecture": (
        "draw_architecture",
        {},
        ("noise_kind", "iterations", "training_iterations", "steps", "gradient"),
    ),
    "figure2_convolution": ("draw_convolution", {}, ()),
    "figure3_unet": ("draw_unet", {}, ("channels", "size", "parameters", "up_bound", "padding", "maps", "unit")),
    "figure4_examples_{protocol}": ("draw_examples", _EXAMPLES, ("protocol", "level")),
    "figure5_maps_{protocol}": ("draw_maps", _EXAMPLES, ("protocol", "level")),
    "figure6_grid_{protocol}": ("draw_grid", _GRID, ("protocol", "level")),
    "figure7_boxes": ("draw_boxes", _METRICS, ("protocols",)),
    "figure8_differences": ("draw_differences", _METRICS, ("protocols",)),
    "training": ("draw_training", {"history_path": "tables/training_history.csv"}, ("report",)),
    "convergence": ("draw_convergence", {"convergence_path": "tables/convergence.csv"}, ("protocols", "iterations")),
    "learned": ("draw_learned", {"learned_path": "tables/learned.csv"}, ("protocols",)),
    "failures": (
        "draw_failures",
        {"failures_path": "tables/failures.csv", "contrasts_path": "tables/contrasts.csv", **_METRICS},
        ("protocols",),
    ),
    "times": ("draw_times", {"times_path": "tables/times.csv"}, ()),
}

_BY_LEVEL = {"by_level": ("draw_by_level", {"by_level_path": "tables/by_level.csv"}, ("protocols",))}  # of a range
_LEVELS = {"summary_path": "tables/summary.csv", "gains_path": "tables/gains.csv"}
_OF_LEVELS = {"levels_{metric}": ("draw_levels", _LEVELS, ("protocols", "metric"))}  # of three noise levels or more
_OF_TRAININGS = {"courses": ("draw_courses", {"courses_path": "tables/courses.csv"}, ())}  # of any that trained
_OF_TUNED = {"tuning": ("draw_tuning", {"tuning_path": "tables/tuning.csv", **_METRICS}, ("protocols", "rivals"))}
_VARIANTS = {"variants_path": "tables/variants.csv"}
_OF_VARIANTS = {"variants": ("draw_variants", _VARIANTS, ("protocols",))}
_STEPS = {"steps_path": "tables/steps.csv"}


def figures(config: Mapping[str, Any]) -> dict[str, Figure]:
    """Return {figure name: Figure} of the study with this `config` (the whole of config.yaml as a dict).

    A name with `{protocol}` stands for one figure per noise protocol of `config`, one with `{metric}` for two.
    """
    baselines, variants = (config.get(key) or {} for key in ("baselines", "variants"))  # not in earlier publications
    training_iterations_of, test_iterations_of = iterations(config)
    channels, parameters = shape(config)
    common = {
        "noise_kind": config["noise"]["kind"],
        "iterations": config["solver"]["iterations"],
        "training_iterations": config["training"]["iterations"],
        "steps": config["network"].get("steps", "fixed"),
        "gradient": config["training"].get("gradient", "unrolled"),
        "channels": channels,
        "size": config["data"]["size"],
        "parameters": parameters,
        "up_bound": config["network"]["up_bound"],
        "maps": config["network"].get("maps", 1),
        "unit": config["network"].get("noise_estimate") == "unit",
        "padding": config["network"]["padding"],
        "protocols": config["noise"]["protocols"],
        "report": reported(config),
        "rivals": tuned(baselines),
        "training_iterations_of": training_iterations_of,
        "test_iterations_of": test_iterations_of,
    }
    protocols = [{"protocol": name, "level": level} for name, level in config["noise"]["protocols"].items()]
    n_levels = sum(not isinstance(entry["level"], (list, tuple)) for entry in protocols)
    templates = _TEMPLATES | (_OF_LEVELS if n_levels >= 3 else {}) | (_BY_LEVEL if n_levels < len(protocols) else {})
    templates |= _OF_TRAININGS if any(trains(config, overlay) for overlay in ({}, *variants.values())) else {}
    templates |= _OF_TUNED if tuned(baselines) else {}
    templates |= _OF_VARIANTS if variants else {}
    if training_iterations_of or test_iterations_of:
        inputs = _VARIANTS | (_STEPS if training_iterations_of else {})
        wanted = ("protocols", "training_iterations_of", "test_iterations_of")
        templates["unrolling"] = ("draw_unrolling", inputs, wanted)
    found = {}
    for template, (script, inputs, names) in templates.items():
        many = protocols if "{protocol}" in template else [{}]
        many = [{"metric": metric} for metric in ("psnr", "ssim")] if "{metric}" in template else many
        for one in many:
            values = {**common, **one}
            found[template.format(**one)] = Figure(
                script,
                {argument: path.format(**one) for argument, path in inputs.items()},
                {name: values[name] for name in names},
            )
    return found
