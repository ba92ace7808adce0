"""The report page: equations as MathML, figures as data URIs, tables and sentences made from the study's numbers."""

import base64
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import yaml
from jinja2.ext import Extension
from latex2mathml.converter import convert
from markupsafe import Markup

from . import conclusions, courses, dissertation, findings, machine, tabular, variants
from . import tables as shown
from .errors import StudyError
from .figures import figures
from .files import PathLike
from .formats import METRICS, duration, mean_std, number, scientific
from .history import HISTORY, SCORES
from .methods import ORACLES, protocol_label
from .origins import origin
from .rivals import described
from .study import iterations, shape
from .tables import Table, note

if TYPE_CHECKING:
    import pandas as pd

_MEANS = [f"{metric}_{number}" for metric in METRICS for number in ("mean", "std", "low", "high")]
_TESTS = ("effect_size", "p_value", "p_holm")
_SHARE = ("share", "share_low", "share_high")
_PAIRS = [f"{name}{end}" for name in ("mean", "gain", "difference") for end in ("", "_low", "_high")]
_OF_VARIANT = ("training_minutes", "minutes_to_published_gain", "changes", "variant", "p_holm", *_PAIRS)
_GAPS = ("relative_gap_max", "rms_bound", "bound_to_error_median", "bound_to_error_max")
_FINE = ("psnr_edge", "ssim_edge", "psnr_gain_fine", "ssim_gain_fine")
TABLES = {  # what the page needs of each
    "summary": ("protocol", "method", "n", *_MEANS, "gain", *tabular.NO_INTERVAL, *_SHARE),
    "gains": ("protocol", "baseline", "metric", "n", "mean", "std", "low", "high", "win_rate", *_TESTS),
    "by_level": tabular.BY_LEVEL,
    "per_image": ("patient", *findings.PER_IMAGE),
    "scalar_choice": ("protocol", "draw", "id", "weight_fixed", "weight_psnr", "weight_ssim", *_FINE),
    "training_history": HISTORY,
    "gaps": ("protocol", "method", "n", "relative_gap_median", *_GAPS),
    "times": tabular.TIMES,
    "examples": tabular.EXAMPLES,
    "failures": tabular.FAILURES,
    "contrasts": findings.CONTRASTS,
    "learned": tabular.LEARNED,
    "checks": ("check", "holds", "number"),
}
OPTIONAL = {  # of a study that trained, and of one that has variants
    "courses": courses.COLUMNS,
    "steps": tabular.STEPS,
    "variants": ("protocol", "metric", "n", "oracle", *_OF_VARIANT),
}
# One test image has no standard deviation, one patient no interval, an epoch without validation no score.
MAY_BE_EMPTY = ("max_rss_mib", "weight_mean", "std", "low", "high", *_TESTS, *_MEANS, *_SHARE, *SCORES, *_OF_VARIANT)


# Repairs of latex2mathml's output: Greek capitals upright, function names without the blanks of an operator, bars and
# slashes tight, a minus after a bracket, comma or equals sign a sign.
_REPAIRS = (
    (r' xmlns="[^"]*"', ""),
    (r"<mi>(&#x0039[0-9A-F];|&#x003A[0-9A];)</mi>", r'<mi mathvariant="normal">\1</mi>'),
    (r"<mo>([a-zA-Z]{2,})</mo>", r"<mi>\1</mi>"),
    (r'<mo(?: stretchy="false")?>(&#x0007C;|&#x0002F;)</mo>', r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>'),
    (r"((?:[(\[]|&#x00028;|&#x0002C;|&#x0003D;)</mo>)<mo>&#x02212;</mo>", r'\1<mo form="prefix">&#x02212;</mo>'),
)


def math(latex: str, display: str = "inline") -> Markup:
    """LaTeX as MathML."""
    latex = re.sub(r"\s*\\\\\s*", r"\\\\", latex.strip())  # blanks around a row's end would break the row
    mathml = convert(latex, display=display)
    for pattern, replacement in _REPAIRS:
        mathml = re.sub(pattern, replacement, mathml)
    return Markup(mathml)


class Equations(Extension):
    r"""Turns `\( latex \)` and numbered `\[name| latex \]` of a template into MathML and `\ref{name}` into a link."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Convert before Jinja reads the source: nothing needs escaping, and no data is ever converted."""

        def shown(match: re.Match[str]) -> str:
            parts = "".join(math(part, "block") for part in match[2].split(r"\qquad"))  # may wrap on a narrow screen
            number = _NUMBER.format(match[1])
            label = f'role="group" aria-label="Equation {number}" tabindex="0"'
            return (
                f'<div class="equation" id="equation-{match[1]}"><div {label}>{parts}</div>'
                f'<span class="number">({number})</span></div>'
            )

        source = re.sub(r"\\\[(\w+)\|(.*?)\\\]", shown, source, flags=re.DOTALL)
        source = re.sub(r"\\\((.*?)\\\)", lambda match: math(match[1]), source, flags=re.DOTALL)
        link = '<a href="#equation-{0}">({1})</a>'
        return re.sub(r"\\ref\{(\w+)\}", lambda m: link.format(m[1], _NUMBER.format(m[1])), source)


_NUMBER = "\ue000{}\ue001"  # stands for the number of an equation until it is known which of them the page has


def numbered(html: str) -> str:
    """`html` with its equations numbered in the order of the page."""
    names = re.findall(r'<div class="equation" id="equation-(\w+)">', html)
    numbers = {name: str(k) for k, name in enumerate(names, 1)}
    return re.sub(_NUMBER.format(r"(\w+)"), lambda match: numbers[match[1]], html)


def picture(path: PathLike) -> Markup:
    """A PNG file as attributes of <img>: its data URI, width and height in pixels."""
    path = Path(path)
    if not path.is_file():
        raise StudyError(f"{path}: the figure is missing; run the study's figures first, then the report")
    data = path.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise StudyError(f"{path}: not a PNG file; delete it and draw the figures again")
    width, height = struct.unpack(">II", data[16:24])
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    return Markup(f'src="{uri}" width="{width}" height="{height}"')


def brightness(iterations: int) -> float:
    """Mean brightness of x_T over that of z if p₀ = z: Algorithm 1 on the mean, which ∇ᵀq does not change."""
    x = x_bar = p = 1.0
    step = 1 / 3  # for L = 3
    for _ in range(iterations):
        p = (p + step * (x_bar - 1)) / (1 + step)
        x_old, x = x, x - step * p
        x_bar = 2 * x - x_old
    return x


def published_table(summary: "pd.DataFrame", gains: "pd.DataFrame") -> Table:
    """The dissertation's Table 1 beside this study's oracle and map, SSIM against the SSIM oracle: titles and rows."""
    head = ["Study", "PSNR, scalar oracle", "PSNR, map", "Gain (dB)", "SSIM, scalar oracle", "SSIM, map", "Gain"]
    rows = []
    for whose, study in dissertation.STUDIES.items():
        rows.append([whose])
        for metric, of in study.items():
            gain = number(dissertation.gain(study, metric), 2, sign=True)
            rows[-1] += [mean_std(*of["oracle"], 2), mean_std(*of["map"], 2), gain]
    for protocol, part in summary.groupby("protocol", sort=False):
        part = part.set_index("method")
        row = [f"This study, {protocol}"]
        for metric, (_, digits, _) in METRICS.items():
            for method in (ORACLES[metric], "map"):
                row.append(mean_std(part.loc[method, f"{metric}_mean"], part.loc[method, f"{metric}_std"], digits))
            row.append(number(conclusions.find_gain(gains, protocol, ORACLES[metric], metric).mean, digits, sign=True))
        rows.append(row)
    return head, rows


def read_tables(paths: Iterable[PathLike]) -> dict[str, "pd.DataFrame"]:
    """The study's CSV tables by name; one that is missing or damaged is named."""
    tables = {Path(path).stem: Path(path) for path in paths}
    for name in TABLES:
        if name not in tables:
            raise StudyError(f"tables/{name}.csv: missing, but the report needs it; run the study again")
    wanted = TABLES | {name: columns for name, columns in OPTIONAL.items() if name in tables}
    return {
        name: tabular.read_table(tables[name], columns, MAY_BE_EMPTY, may_have_no_row=name == "by_level")
        for name, columns in wanted.items()
    }


def shown_tables(tables: Mapping[str, "pd.DataFrame"], rules: "pd.DataFrame", percent: float) -> dict[str, Table]:
    """The tables that the page prints, by name: (column titles, rows); `rules`: λ that rules chose, see `findings`."""
    found = {
        "summary": shown.summary_table(tables["summary"], percent),
        "gains": shown.gains_table(tables["gains"], percent),
        "by_level": shown.by_level_table(tables["by_level"], percent),
        "published": published_table(tables["summary"], tables["gains"]),
        "examples": shown.examples_table(tables["examples"]),
        "choices": shown.choices_table(tables["scalar_choice"]),
        "gaps": shown.gaps_table(tables["gaps"]),
        "history": shown.history_table(tables["training_history"]),
        "times": shown.times_table(tables["times"]),
        "checks": shown.checks_table(tables["checks"]),
    }
    if "variants" in tables:
        found["variants"] = shown.variants_table(tables["variants"], percent)
    if len(rules):
        found["rules"] = shown.rules_table(rules)
    return found


def told_by_variants(table: "pd.DataFrame | None", config: Mapping[str, Any], nearest: bool) -> dict[str, list[str]]:
    """What the page says of unrolling, of chance and, if `nearest`, of the variant nearest to the published numbers."""
    if table is None:
        return {"unrolling": [], "chance": [], "nearest": []}
    levels = config["noise"]["protocols"]
    training_iterations_of, test_iterations_of = iterations(config)
    return {
        "unrolling": findings.unrolling(table, training_iterations_of, test_iterations_of, levels),
        "chance": findings.chance(table, config["variants"], levels, config["report"]["confidence"]),
        "nearest": findings.nearest(table, config["variants"]) if nearest else [],
    }


def render(
    tables: Mapping[str, "pd.DataFrame"],
    figures_folder: PathLike,
    provenance: Mapping[str, Any],
    template_path: PathLike,
    looks: Sequence[Mapping[str, str]],
) -> str:
    """The whole page as HTML. `tables`: name → data frame, `provenance`: the content of provenance.json.

    looks: rows (date, study, fingerprint, images, measured, what) of the log of looks at the test X-rays.
    """
    config, per_image = provenance["config"], tables["per_image"]
    gains, summary, choices = tables["gains"], tables["summary"], tables["scalar_choice"]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(template_path).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[Equations],
    )
    only_repeats = all(variants.repeats(overlay) for overlay in config["variants"].values())
    environment.filters.update(number=number, scientific=scientific, duration=duration, in_list=machine.in_list)
    names, levels = list(summary.protocol.unique()), config["noise"]["protocols"]
    channels, parameters = shape(config)
    training_iterations_of, test_iterations_of = iterations(config)
    confidence = config["report"]["confidence"]
    rules, source = findings.rule_choices(per_image), provenance["data"]["source"]
    x_rays = origin(source).x_rays
    missing = [name for name in names if name not in levels]
    if missing:
        raise StudyError(
            f"tables/summary.csv: protocol {missing[0]} is not in noise.protocols; delete the table and run again"
        )
    html = environment.get_template(Path(template_path).name).render(
        config=config,
        channels=channels,
        parameters=parameters,
        brightness=brightness,
        config_text=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        provenance=provenance,
        x_rays=x_rays,
        protocols=[
            {
                "name": name,
                "suffix": chr(ord("a") + position) if len(names) > 1 else "",
                "words": protocol_label(config["noise"]["protocols"][name]),
                "images": per_image[per_image.protocol == name].id.nunique(),
                "patients": per_image[per_image.protocol == name].patient.nunique(),
                "draws": per_image[per_image.protocol == name].draw.nunique(),
                "map": summary[(summary.protocol == name) & (summary.method == "map")].iloc[0],
                "fixed": conclusions.compare(conclusions.find_gain(gains, name, "scalar-fixed", "psnr"), confidence),
                "oracle": conclusions.compare(conclusions.find_gain(gains, name, ORACLES["psnr"], "psnr"), confidence),
            }
            for position, name in enumerate(names)
        ],
        headline=conclusions.headline(gains),
        ahead=conclusions.ahead_of_map(gains),
        conclusions=[
            *conclusions.against_scalars(gains, confidence),
            *conclusions.against_rivals(gains, confidence),
        ],
        against_published=conclusions.against_published(gains, source),
        edges={"psnr": int(choices.psnr_edge.sum()), "ssim": int(choices.ssim_edge.sum()), "n": len(choices)},
        fine=choices[["psnr_gain_fine", "ssim_gain_fine"]].agg(["mean", "max"]),
        worst_gap=tables["gaps"].relative_gap_max.max(),
        seconds=tables["times"].seconds.sum(),
        rivals=described(config["baselines"]),
        shown=shown_tables(tables, rules, 100 * confidence),
        note=note(source, config["report"]),
        group=origin(source).group,
        looks=looks,
        figures=figures(config),
        failures=[
            *findings.block_failures(tables["failures"], levels),
            *findings.image_failures(findings.image_gains(per_image, tables["contrasts"]), levels),
            *findings.level_failures(tables["by_level"], levels),
        ],
        learned=findings.learned(tables["learned"]),
        speed=findings.speed(tables["courses"]) if "courses" in tables else "",
        timed_on=findings.timed_on(tables["steps"]) if "steps" in tables else "",
        unrolled={"training": training_iterations_of, "test": test_iterations_of},
        cost_of_steps=findings.cost_of_steps(tables["steps"], training_iterations_of) if training_iterations_of else "",
        repeated=bool(config["variants"]) and only_repeats,
        **told_by_variants(tables.get("variants"), config, nearest=x_rays and not only_repeats),
        published_gain=dissertation.GAIN,
        seeds=len(variants.from_other_seeds(config["variants"])),
        picture=lambda name: picture(Path(figures_folder) / f"{name}.png"),
    )
    return numbered(html)
