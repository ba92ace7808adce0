# The checked configuration, names and input functions that the rules share.
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
if str(SCRIPTS) not in sys.path:
    sys.path.append(str(SCRIPTS))

import tvmap.config
import tvmap.figures
import tvmap.fingerprint
import tvmap.methods
from tvmap.errors import StudyError

try:
    tvmap.config.check(config, Path(workflow.basedir) / "workflow" / "schemas" / "config.schema.yaml")
except StudyError as error:
    raise WorkflowError(str(error)) from None

# One local GPU runs one training at a time; a cluster schedules its own.
if not workflow.non_local_exec and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", 1)


report: "../report/workflow.rst"


RESULTS = f"results/{config['study']}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
PROTOCOLS = list(config["noise"]["protocols"])
DRAWS = list(range(config["noise"]["draws"]))
SCALARS = [method for method in tvmap.methods.METHODS if method != "map"]
FIGURES_OF_STUDY = tvmap.figures.figures(config)
FIGURES = expand(f"{RESULTS}/figures/{{figure}}.{{format}}", figure=FIGURES_OF_STUDY, format=["png", "pdf"])


# What the trained weights depend on; where and how it is computed is not part of it.
HOW = ("report", "validation_protocol", "device", "threads", "checkpoint_seconds")
TRAINING = {
    "settings": {key: value for key, value in config["training"].items() if key not in HOW},
    "network": config["network"],
    "solver": config["solver"],
    "noise_kind": config["noise"]["kind"],
    "noise_level": config["noise"]["train_level"],
    "seed": config["seed"],
}
TRAINING_GPUS = 0 if config["training"]["device"] == "cpu" else 1
TRAINING_ENVIRONMENT = "../../envs/torch-cuda.yaml" if config["training"]["device"] == "cuda" else "../../envs/torch.yaml"


wildcard_constraints:
    split="train|val|test",
    protocol="|".join(map(re.escape, PROTOCOLS)),
    draw=r"\d+",
    method="|".join(tvmap.methods.METHODS),
    figure="|".join(map(re.escape, FIGURES_OF_STUDY)),


scattergather:
    shard=config["grid"]["shards"],


def code_version(script):
    """Fingerprint of a script and of the modules it imports: a change in either reruns exactly what depends on it."""
    return tvmap.fingerprint.code_version(SCRIPTS / f"{script}.py")


def archive_of_images(wildcards):
    """The archive that the images come from, if they come from one."""
    sources = {"mendeley": rules.retrieve_archive.output[0], "archive": config["data"]["archive"]}
    return sources.get(config["data"]["source"], [])


def protocol_value(wildcards):
    return config["noise"]["protocols"][wildcards.protocol]


def figure_inputs(wildcards):
    inputs = FIGURES_OF_STUDY[wildcards.figure].inputs
    return {name: f"{RESULTS}/{path}" for name, path in inputs.items()}


def figure_code(wildcards):
    return code_version(FIGURES_OF_STUDY[wildcards.figure].script) + code_version("draw_figure")


def figure_settings(wildcards):
    return FIGURES_OF_STUDY[wildcards.figure].settings
