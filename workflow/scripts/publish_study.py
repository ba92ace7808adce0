"""Copy what may be published of a finished study: tables, plots, weights, history, provenance; never pixels of X-rays.

python workflow/scripts/publish_study.py results/xray-fast results/reference/xray-fast
"""

import argparse
import shutil
import sys
from pathlib import Path

from tvmap import figures, model_card, origins, provenance
from tvmap.errors import StudyError
from tvmap.files import copy_atomically, write_atomically, writing
from tvmap.looks import log_looks

ALLOWED = (
    "manifest.csv",
    "provenance.json",
    "checks/checks.csv",
    *(f"tables/{name}.csv" for name in ("per_image", "grid", "convergence", "learned", "failures", "contrasts")),
    *(
        f"tables/{name}.{kind}"
        for name in ("summary", "gains", "by_level", "scalar_choice", "training_history", "gaps", "examples", "times")
        for kind in ("csv", "md")
    ),
)
OF_TRAINING = ("model/history.csv", "model/training.json")  # in the study itself, not of given weights
OF_FIGURES = (  # beside those of every study, where a figure of the study is drawn from the first of them
    ("tables/courses.csv", "tables/steps.csv"),
    ("tables/tuning.csv",),
    ("tables/variants.csv", "tables/variants.md"),
)


def main(folder, target):
    """Replace `target` by the allowed files of `folder`, the reported weights and the figures of this study."""
    folder, target = Path(folder), Path(target)
    if not (folder / "checks/checks.csv").is_file():
        raise StudyError(f"{folder}: no finished study (checks/checks.csv is missing); run it first")
    if target.exists() and not (target / "provenance.json").is_file() or folder.resolve() == target.resolve():
        raise StudyError(f"{target}: not an earlier publication, so it is not replaced; give another folder")
    origin = provenance.read(folder / "provenance.json")
    pixels = origins.origin(origin["data"]["source"]).free
    found = figures.figures(origin["config"])
    names = [name for name, figure in found.items() if pixels or not figure.has_pixels]
    chosen = [*ALLOWED]
    if not origin["config"]["network"]["weights"]:
        chosen += OF_TRAINING
        if not origin["config"]["data"].get("fold"):  # of a recipe on trial nobody needs the weights
            chosen += [f"model/{origin['training']['reported']}.safetensors"]
    direct = "unet-direct" in origin["config"].get("baselines", [])
    if direct and not origin["config"]["network"].get("weights_direct"):
        reported = origin["config"]["training"]["report"]
        chosen += [f"model_direct/{name}" for name in ("history.csv", "training.json", f"{reported}.safetensors")]
    drawn_from = {path for figure in found.values() for path in figure.inputs.values()}
    chosen += [path for paths in OF_FIGURES if paths[0] in drawn_from for path in paths]
    chosen += [f"figures/{name}.{kind}" for name in names for kind in ("png", "pdf")]
    missing = [name for name in chosen if not (folder / name).is_file()]
    if missing:
        raise StudyError(f"{folder}: {', '.join(missing)} is missing; run the study again")
    new, old = target.with_name(f"{target.name}.new"), target.with_name(f"{target.name}.old")
    shutil.rmtree(new, ignore_errors=True)  # of a run that was killed
    for name in chosen:
        with writing(target):
            (new / name).parent.mkdir(parents=True, exist_ok=True)
        copy_atomically(folder / name, new / name)
    if any(name.startswith("model/") and name.endswith(".safetensors") for name in chosen):
        write_atomically(new / model_card.CARD, model_card.render(folder))
    log_looks(folder, target.name, origin)  # first: a look is one even if what follows fails
    with writing(target):
        shutil.rmtree(old, ignore_errors=True)  # of a run that was killed
        if target.exists():
            target.rename(old)
        new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    size = sum((folder / name).stat().st_size for name in chosen) / 1e6
    print(f"{target}: {len(chosen)} files, {size:.1f} MB; {'with' if pixels else 'without'} pixels of test images")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="results/<study>")
    parser.add_argument("target", help="results/reference/<study>")
    arguments = parser.parse_args()
    try:
        main(arguments.folder, arguments.target)
    except StudyError as error:
        sys.exit(f"error: {error}")
