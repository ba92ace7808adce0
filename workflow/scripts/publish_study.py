"""Copy what may be published of a finished study: tables, plots, weights, history, provenance; never pixels of X-rays.

python workflow/scripts/publish_study.py results/xray-fast results/reference/xray-fast
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from tvmap.errors import StudyError

ALLOWED = (
    "manifest.csv",
    "provenance.json",
    "checks/checks.csv",
    "tables/*.csv",
    "tables/*.md",
    "model/history.csv",
    "model/training.json",
    "model/last.safetensors",
    "model/best.safetensors",
    "figures/*.png",
    "figures/*.pdf",
)
WITH_PIXELS = ("figure4_", "figure5_")  # pixels and maps of test images
FREE_SOURCES = ("sample",)  # whose pixels may be published


def main(folder, target):
    """Replace `target` by the allowed files of `folder`; the unused one of the two weights is left out."""
    folder, target = Path(folder), Path(target)
    if not (folder / "checks/checks.csv").is_file():
        raise StudyError(f"{folder}: no finished study (checks/checks.csv is missing); run it first")
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    pixels = provenance["data"]["source"] in FREE_SOURCES
    unused = {"last": "best.safetensors", "best": "last.safetensors"}[provenance["training"]["reported"]]
    found = [path for pattern in ALLOWED for path in sorted(folder.glob(pattern))]
    chosen = [p for p in found if p.name != unused and (pixels or not p.name.startswith(WITH_PIXELS))]
    shutil.rmtree(target, ignore_errors=True)
    for path in chosen:
        copy = target / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    size = sum(path.stat().st_size for path in chosen) / 1e6
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
