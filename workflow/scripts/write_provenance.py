"""Write where the results come from: configuration, code, versions, machines, times, training and data."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tvmap import machine, manifest, provenance, study, tabular
from tvmap.files import sha256, write_atomically
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake

MIXED = "steps ran with several versions of %s (%s), see %s; to have one, move the results folder away and run again"


def main(manifest_path, trainings, times_path, output_path, config, code, variants=None):
    """Write the record of the study.

    trainings: {"training": (its training.json, weights that were trained before or None)}, "training_direct" likewise
    for the rival without TV; code: what names the code of the study; variants: {name: training.json} of those that are
    trained.

    Where the files of the keys `provenance.PATHS` lie on this machine is left out: names and hashes identify them.
    """
    config = json.loads(json.dumps(config))
    records = {name: provenance.read_training(path) for name, (path, _) in trainings.items()}
    for name, (_, weights_path) in trainings.items():
        if weights_path:
            records[name]["weights_sha256"] = sha256(weights_path)
    records["training"]["reported"] = study.reported(config)
    for overlay in (config, *config["variants"].values()):
        for section in (overlay.get("data") or {}, overlay.get("network") or {}):
            section.update({key: Path(section[key]).name for key in provenance.PATHS if section.get(key)})
    splits = Counter(row["split"] for row in manifest.read(manifest_path))
    times = tabular.read_table(times_path, ["step", *tabular.WHERE], may_be_empty=tabular.WHERE).dropna()
    machines, versions = {}, {}
    for row in times.itertuples():
        for name in row.machine.split("; "):
            machines.setdefault(name, []).append(row.step)
        for package, version in machine.from_list(row.versions):
            versions.setdefault(package, set()).add(version)
    for package, several in versions.items():
        if len(several) > 1:
            log.warning(MIXED, package, ", ".join(sorted(several)), times_path)
    content = {
        "study": config["study"],
        "config": config,
        "code": code,
        "times": {"start": min(times["start"], default=None), "end": max(times["end"], default=None)},
        "versions": {package: " and ".join(sorted(several)) for package, several in versions.items()},
        "machines": machines,
        **records,
        "variants": {name: provenance.read_training(path) for name, path in (variants or {}).items()},
        "seed": config["seed"],
        "data": {"source": config["data"]["source"], "n": dict(splits), "manifest_sha256": sha256(manifest_path)},
    }
    write_atomically(output_path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        inputs = snakemake.input
        trainings = {"training": (inputs.training, inputs.get("weights"))}
        if inputs.get("training_direct"):
            trainings["training_direct"] = inputs.training_direct, inputs.get("weights_direct")
        root = Path(snakemake.scriptdir).resolve().parents[1]  # a package that is installed may lie elsewhere
        code = {"scripts": snakemake.params.study_code, **provenance.commit(root)}
        variants = dict(zip(snakemake.params.variants, inputs.variants, strict=True))
        output = snakemake.output[0]
        main(inputs.manifest, trainings, inputs.times, output, snakemake.params.config, code, variants)
