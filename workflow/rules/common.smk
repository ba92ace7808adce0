# The checked configuration, names and input functions that the rules share.
import functools
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.27")

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
if str(SCRIPTS) not in sys.path:
    sys.path.append(str(SCRIPTS))

import tvmap.archives
import tvmap.config
import tvmap.figures
import tvmap.fingerprint
import tvmap.manifest
import tvmap.methods
import tvmap.origins
import tvmap.study
from tvmap.errors import StudyError

try:
    tvmap.study.drop_protocols(config)
    tvmap.config.check(config, Path(workflow.basedir) / "workflow" / "schemas" / "config.schema.yaml")
    IMAGE_FILES, source = [], config["data"]["source"]
    if source == "folder":
        IMAGE_FILES = list(map(str, tvmap.archives.images_below(config["data"]["folder"])))
    given = [config["data"]["manifest"], config["network"]["weights"], config["network"]["weights_direct"]]
    given += [config["data"]["archive"]] if source == "archive" else []
    for path in IMAGE_FILES + list(filter(None, given)):
        tvmap.archives.check_name(path)
        if "{" in path or "}" in path:
            raise StudyError(f"{path}: Snakemake takes braces in a name for a wildcard; rename it")
except StudyError as error:
    raise WorkflowError(str(error)) from None

# One local GPU runs one job at a time; a cluster schedules its own.
if not workflow.non_local_exec and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", 1)


report: "../report/workflow.rst"


RESULTS = f"results/{config['study']}"
place = next(path for path in (Path(RESULTS), *Path(RESULTS).parents) if path.exists())
if not os.access(place, os.W_OK):
    raise WorkflowError(f"{RESULTS}: cannot be written, as {place} is read-only; mend its rights or how it is mounted")
ARCHIVE = f"resources/{config['data']['mendeley']['filename']}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
SPLITS = tvmap.manifest.SPLITS
PROTOCOLS = list(config["noise"]["protocols"])
DRAWS = list(range(config["noise"]["draws"]))
METHODS = tvmap.methods.chosen(config["baselines"])
SOLVED = [method for method in METHODS if tvmap.methods.solves(method)]  # by a weight, λ or Λ; others without
TUNED = [method for method in tvmap.study.tuned(METHODS) if tvmap.methods.base(method) not in tvmap.methods.BY_NOISE]
SCALARS = [method for method in METHODS if method in tvmap.methods.GRIDDED]
FIGURES_OF_STUDY = tvmap.figures.figures(config)
TEMPLATE = "workflow/report/report.html.j2"
STYLE = [f"workflow/report/{name}.css" for name in ("palette", "report")]
EXPLORER = [f"workflow/report/explorer.{kind}" for kind in ("html.j2", "css", "js")] + STYLE[:1]
LOOKS = "workflow/report/looks.csv"
CHECKLISTS = "workflow/report/checklists.html.j2"
FIGURES = expand(f"{RESULTS}/figures/{{figure}}.{{format}}", figure=FIGURES_OF_STUDY, format=["png", "pdf"])


# Keys of `training` that ask for no other one: the seed, an argument of its own; which weights are reported and which
# noise they are validated on, a choice of files; and how it is computed, which changes the last bits.
NO_ARGUMENTS = ("seed", "report", "validation_protocol", "threads", "checkpoint_seconds", "wandb")


def training_arguments(settings):
    """The arguments of a study's training, another of which asks for another training."""
    training, seed = settings["training"], settings["seed"]
    return {
        "settings": {key: value for key, value in training.items() if key not in NO_ARGUMENTS},
        "network": {key: value for key, value in settings["network"].items() if not key.startswith("weights")},
        "solver": settings["solver"],
        "noise_kind": settings["noise"]["kind"],
        "noise_level": settings["noise"]["train_level"],
        "seed": seed if training["seed"] is None else training["seed"],
    }


TRAINING = training_arguments(config)
# {key of network: the weights in use, given or trained here}: of NET_Θ and of the rival without TV.
WEIGHTS = {
    key: config["network"][key] or f"{RESULTS}/{folder}/{config['training']['report']}.safetensors"
    for key, folder in (("weights", "model"), ("weights_direct", "model_direct"))
}
NETWORK = {key: config["network"][key] for key in tvmap.study.OF_WEIGHTS}
VARIANTS = tvmap.study.variants(config)
# A variant that differs in its network or training alone has the noise and the scalars of the study.
MAPS_ONLY = {name: set(overlay) <= {"training", "network"} for name, overlay in config["variants"].items()}
STUDIES = {"": config, **VARIANTS}
TRAINED = {name: settings["study"] for name, settings in STUDIES.items() if tvmap.study.trains(settings)}
TRAININGS = {name: f"results/{study}/model/training.json" for name, study in TRAINED.items()}
HISTORIES = {name: f"results/{study}/model/history.csv" for name, study in TRAINED.items()}
TRAINS_DIRECT = "unet-direct" in METHODS and not config["network"]["weights_direct"]  # the rival without TV
GRID = {key: config["grid"][key] for key in ("minimum", "maximum", "values")}
# How images are measured, in the grid too.
MEASURE = {"clamp": config["report"]["clamp"], "window": config["report"]["ssim_window"]}
GPUS = 0 if config["device"] == "cpu" else 1
TORCH = "../../envs/torch-cuda.yaml" if config["device"] == "cuda" else "../../envs/torch.yaml"


wildcard_constraints:
    split="|".join(SPLITS),
    protocol="|".join(map(re.escape, PROTOCOLS)),
    draw=r"\d+",
    method="|".join(tvmap.methods.LABELS),
    figure="|".join(map(re.escape, FIGURES_OF_STUDY)),


scattergather:
    shard=config["grid"]["shards"],


def _images(split):
    """Images of a split, at most; a fold of the train and val patients tests its share of their images."""
    counts, fold = config["data"]["images"], config["data"]["fold"]
    return (counts["train"] + counts["val"]) // fold["of"] if fold and split == "test" else counts[split]


def shards(split):
    """`k-of-n`: as many as --set-scatter or grid.shards says, but none of fewer than grid.shard_images images."""
    most = len(gather.shard("{scatteritem}"))
    n = max(1, min(most, _images(split) // config["grid"]["shard_images"]))
    return [f"{k}-of-{n}" for k in range(1, n + 1)]


def methods_of(names, methods=METHODS):
    """Those of `methods`, by default the study's, that are among `names`, told the noise level or not."""
    return [method for method in methods if tvmap.methods.base(method) in names]


# The steps whose cost the report shows; a figure or a table is not among them, nor what is temporary and made again with
# the explorer, whatever that is made anew for.
_STEMS = expand("{protocol}_{draw}", protocol=PROTOCOLS, draw=DRAWS)
_OF_TRAIN = expand("train_{protocol}_0", protocol=PROTOCOLS) if methods_of(tvmap.methods.LEARNED) else []
_NOISY = [*expand("{split}_{round}", split=["val", "test"], round=_STEMS), *_OF_TRAIN]
BENCHMARKED = [
    f"{BENCHMARKS}/select_images.tsv",
    *expand(f"{BENCHMARKS}/prepare_images/{{split}}.tsv", split=SPLITS),
    *expand(f"{BENCHMARKS}/add_noise/{{stack}}.tsv", stack=_NOISY),
    *([] if config["network"]["weights"] else [f"{BENCHMARKS}/train.tsv"]),
    *([f"{BENCHMARKS}/train_direct.tsv"] if TRAINS_DIRECT else []),
    *(f"{BENCHMARKS}/search_grid/{stack}_{shard}.tsv" for stack in _NOISY for shard in shards(stack.partition("_")[0])),
    *expand(f"{BENCHMARKS}/refine_grid/{{round}}.tsv", round=_STEMS),
    *expand(f"{BENCHMARKS}/predict_maps/{{round}}.tsv", round=_STEMS),
    *expand(
        f"{BENCHMARKS}/tune_classical/{{protocol}}_{{method}}.tsv",
        protocol=PROTOCOLS,
        method=methods_of(tvmap.methods.CLASSICAL),
    ),
    *expand(f"{BENCHMARKS}/denoise_images/{{round}}_{{method}}.tsv", round=_STEMS, method=SOLVED),
    *(
        path
        for rule, methods in tvmap.methods.BASELINE_RULES.items()
        for path in expand(
            f"{BENCHMARKS}/{rule}/{{round}}_{{method}}.tsv",
            round=_STEMS,
            method=methods_of(methods),
        )
    ),
    *expand(f"{BENCHMARKS}/measure_images/{{round}}.tsv", round=_STEMS),
    f"{BENCHMARKS}/explain_study.tsv",
    *([f"{BENCHMARKS}/time_steps.tsv"] if TRAINED else []),
]


def code_version(script):
    """Fingerprint of a script and of the modules it imports: a change in either reruns exactly what depends on it."""
    return tvmap.fingerprint.code_version_once(SCRIPTS / f"{script}.py")


def code_of_study(wildcards):
    """One fingerprint of the scripts of all rules and figures: each result is by the code that it stands for."""
    names = {Path(rule.script).stem for rule in workflow.rules if rule.script}
    names |= {figure.script for figure in FIGURES_OF_STUDY.values()}
    paths = (SCRIPTS / f"{name}.py" for name in names)
    return tvmap.fingerprint.common_version(paths, tvmap.fingerprint.code_version_once)


def mebibytes(base, arrays, *splits):
    """`base`, and this many arrays of 32-bit numbers as large as the images of the largest split, in MiB."""
    return base + arrays * _pixels(splits) * 4 // 2**20


def memory(base, arrays, *splits):
    """MiB of a job; twice and three times that if it is submitted again, as it may have been ended for want of it."""
    first = mebibytes(base, arrays, *splits)
    return lambda wildcards, attempt: attempt * first


def minutes(base, seconds, *splits, jobs=1):
    """Minutes of a job: `base`, and so many seconds for every image of 256² pixels, of which `jobs` share the work.

    Twice and three times that if the job is submitted again, as it may have run out of time.
    """
    first = base + round(seconds / 60 * _pixels(splits) / 256**2 / jobs)
    return lambda wildcards, attempt: attempt * first


def is_short(seconds, *splits):
    """Whether a job of so many seconds for every image of 256² pixels would take longer to start on a cluster."""
    return seconds * _pixels(splits) / 256**2 < START


LOW = 1e-3  # where the grid begins at 0, the smallest λ that SURE and the discrepancy principle try
START = 4  # seconds that a job takes to start on a cluster; what takes less is done where Snakemake runs
# Seconds of the solver for one λ and an image of 256², a slow CPU's; TGV takes three times as long.
SOLVE = 0.02 * config["solver"]["iterations"] / 256
SOLVE_MAP = SOLVE * (3 if NETWORK["penalty"] == "tgv" else 1)
TRACED = 100  # test images at most, of each noise protocol, whose convergence is measured
# Seconds for each test image: 1, 2, 4, … 4T steps under all protocols, λ and a map of TV from two starts, TGV from one.
TRACE = 8 * len(PROTOCOLS) * (2 * SOLVE + (1 if NETWORK["penalty"] == "tgv" else 2) * SOLVE_MAP)
TRACE *= min(1, TRACED / max(1, _images("test")))
# MiB of the three example images of a protocol, denoised with every λ; each takes about 0.05 s on a CPU.
SWEEP = 3 * config["grid"]["values"] * config["data"]["size"] ** 2 * 4 // 2**20


def _pixels(splits):
    return max(map(_images, splits)) * config["data"]["size"] ** 2


def archive_of_images(wildcards):
    """The archive that the images come from, or the files of the folder; nothing for the photographs of `sample`.

    Where a digest tells whether they are others, Snakemake does not go by their age: an archive may be copied or
    touched at any time; of a folder the digest is of names, sizes and times.
    """
    sources = {"mendeley": ARCHIVE, "archive": config["data"]["archive"], "folder": IMAGE_FILES}
    files = sources.get(config["data"]["source"], [])
    return ancient(files) if archive_digest(wildcards) else files


def archive_digest(wildcards):
    """What tells these from others; no job reads it but those of the two rules that ask."""
    if config["data"]["source"] == "folder":
        return _folder_digest()
    if config["data"]["source"] == "archive":
        return _digest_once(config["data"]["archive"])
    return config["data"]["mendeley"]["sha256"] if config["data"]["source"] == "mendeley" else None


@functools.cache
def _folder_digest():
    return tvmap.archives.folder_digest(IMAGE_FILES)


_digest_once = functools.cache(tvmap.archives.archive_digest)


def views_of_split(wildcards):
    return config["training"]["views"] if wildcards.split == "train" else 1


def protocol_value(wildcards):
    return config["noise"]["protocols"][wildcards.protocol]


def of_training(name, key="weights"):
    """`name` of the training's folder, which for weights that are given is the one that these lie in."""

    def found(wildcards):
        path, weights = Path(WEIGHTS[key]).parent / name, config["network"][key]
        of_study = Path(f"results/{config['study'].rpartition('.')[0]}/model")  # whose variant this may be: made here
        elsewhere = weights and path.parent != of_study
        if elsewhere and not Path(weights).is_file():
            raise WorkflowError(f"network.{key}: there is no file {weights!r}; give trained weights, .safetensors")
        if elsewhere and not path.is_file():
            raise WorkflowError(
                f"network.{key}: {path} is missing; the report describes the training: put its {name} beside the "
                f"weights, or ask for the measurements alone, such as {RESULTS}/metrics/map_{PROTOCOLS[0]}_0.csv"
            )
        return str(path)

    return found


def measurements(name, settings):
    """The tables of measurements of the study ("") or of a variant with these `settings`."""
    return expand(
        f"results/{settings['study']}/metrics/{'map' if MAPS_ONLY.get(name) else 'test'}_{{protocol}}_{{draw}}.csv",
        protocol=settings["noise"]["protocols"],
        draw=range(settings["noise"]["draws"]),
    )


def validation_grid(name):
    """The grid of λ on the validation images of the study ("") or of a variant, with the noise it was validated on."""
    study = "" if MAPS_ONLY.get(name) else name
    protocol = STUDIES[name]["training"]["validation_protocol"]
    return f"results/{STUDIES[study]['study']}/grid/val_{protocol}_0.csv"


def candidates_of(method):
    """{protocol: the tables this λ or rival was chosen among, with the scores}; a regression is the same for all draws."""
    if method == "scalar-fixed":
        return {name: expand(f"{RESULTS}/grid/val_{name}_{{draw}}.csv", draw=DRAWS) for name in PROTOCOLS}
    classical = tvmap.methods.base(method) in tvmap.methods.CLASSICAL
    pattern = "classical/{}_{}.csv" if classical else "candidates/{}_0_{}.csv"
    return {protocol: [f"{RESULTS}/{pattern.format(protocol, method)}"] for protocol in PROTOCOLS}


def shards_of_grid(wildcards):
    stem = f"{RESULTS}/grid/shards/{wildcards.split}_{wildcards.protocol}_{wildcards.draw}"
    return [f"{stem}_{shard}.csv" for shard in shards(wildcards.split)]


def minutes_of_shard(wildcards, attempt):
    return minutes(60, 5, wildcards.split, jobs=len(shards(wildcards.split)))(wildcards, attempt)


def figure_inputs(wildcards):
    inputs = FIGURES_OF_STUDY[wildcards.figure].inputs
    return {name: f"{RESULTS}/{path}" for name, path in inputs.items()}


def figure_code(wildcards):
    return code_version(FIGURES_OF_STUDY[wildcards.figure].script) + code_version("draw_figure")


def figure_script(wildcards):
    return FIGURES_OF_STUDY[wildcards.figure].script


def figure_settings(wildcards):
    return FIGURES_OF_STUDY[wildcards.figure].settings


def made(rule, **wildcards):
    """What the jobs of a rule make that have these wildcards."""
    return list(dict.fromkeys(expand([str(path) for path in getattr(rules, rule).output], **wildcards)))


def made_by_grid(split, **rounds):
    """The noise of a split and what the search for its best λ leaves: the scores of each shard and of all."""
    shared = made("search_grid", split=split, scatteritem=shards(split), **rounds)
    return [*made("add_noise", split=split, **rounds), *shared, *made("gather_grid", split=split, **rounds)]
