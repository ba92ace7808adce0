"""Train NET_Θ on the clean training images; a training that was finished before is taken from the store.

Without Snakemake: python workflow/scripts/train.py results/<study>/training_job.json --device cuda
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from tvmap import devices, logs, machine, stacks, training
from tvmap.files import copy_atomically, locked, write_atomically
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake

WAITING = "training %s: another process is at it, perhaps one that outlived its killed workflow; waiting for its end"
FILES = ("last.safetensors", "best.safetensors", "history.csv", "training.json")


def main(clean_train, clean_val, noisy_val, settings, store, code_version, threads, checkpoint_seconds, device, folder):
    """Copy FILES into `folder`, if any, from `store`, where finished trainings are kept by their fingerprint.

    settings: arguments of `tvmap.training.train`.
    """
    inputs = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in (clean_train, clean_val, noisy_val)]
    how = settings["settings"]
    # At a constant rate a longer training begins as a shorter one does, so it may go on from that one's checkpoint.
    continuable = how["schedule"] == "constant" and how["epochs"] % how["validate_every"] == 0
    key = settings | {"settings": how | {"epochs": None}} if continuable else settings
    key = json.dumps([key, inputs, code_version], sort_keys=True)
    fingerprint = hashlib.sha256(key.encode()).hexdigest()[:16]
    kept = Path(store) / f"{fingerprint}-{how['epochs']}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with locked(kept.with_name(f"{kept.name}.lock"), lambda: log.warning(WAITING, fingerprint)):
        if kept.exists():
            log.info("training %s was finished before: taken from %s", fingerprint, kept)
        else:
            torch.set_num_threads(threads)
            images, device = _with_views(stacks.load(clean_train)), devices.pick(device)
            validation = [torch.from_numpy(stacks.load(path)["images"])[:, None] for path in (clean_val, noisy_val)]
            log.info("training %s on %s with %d threads", fingerprint, device, torch.get_num_threads())
            work = kept.with_name(f"{kept.name}.unfinished")
            work.mkdir(exist_ok=True)
            where = {"folder": work, "checkpoint_path": work / "checkpoint.pt", "fingerprint": fingerprint}
            where |= {"earlier": sorted(kept.parent.glob(f"{fingerprint}-*/*.pt"))}
            options = {"checkpoint_seconds": checkpoint_seconds, "device": device, **settings}
            summary = training.train(images, validation, **where, **options)
            summary |= {"fingerprint": fingerprint, "device": devices.name(device), "threads": torch.get_num_threads()}
            summary |= {"versions": machine.versions(), "machine": machine.description()}
            summary |= {"max_rss_mib": logs.peak_memory()}
            write_atomically(work / "training.json", json.dumps(summary, indent=2) + "\n")
            work.rename(kept)
            if not continuable:
                (kept / "checkpoint.pt").unlink()  # only now: a training killed until here resumes
    for name in FILES if folder else ():
        copy_atomically(kept / name, Path(folder) / name)


def _with_views(stack):
    """The images (n, H, W), or with their other views (n, v, H, W)."""
    return np.concatenate([stack["images"][:, None], stack["views"]], 1) if "views" in stack else stack["images"]


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        how = snakemake.config["training"]  # no params: a change of them is no reason to train anew
        if snakemake.threads != how["threads"]:
            message = "training.threads is %d, but %d are to be had: the weights will differ in the last bits"
            log.warning(message, how["threads"], snakemake.threads)
        main(
            *(snakemake.input[name] for name in ("clean_train", "clean_val", "noisy_val")),
            snakemake.params.settings,
            snakemake.params.store,
            snakemake.params.code,
            snakemake.threads,
            how["checkpoint_seconds"],
            snakemake.config["device"],
            Path(snakemake.output.history).parent,
        )
elif __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", type=Path, help="the file that the rule describe_training writes")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    arguments = parser.parse_args()
    with logged_to(arguments.job.with_suffix(".log")):
        main(**json.loads(arguments.job.read_text()), device=arguments.device, folder=None)
