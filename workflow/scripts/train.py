"""Train NET_Θ on the clean training images; a training that was finished before is taken from the store.

Without Snakemake: python workflow/scripts/train.py results/<study>/training_job.json --device cuda
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tvmap import devices, jobs, logs, machine, stacks, training
from tvmap.files import copy_atomically, is_intact, locked, seal, sha256, write_atomically, writing
from tvmap.logs import log, logged_to
from tvmap.tracking import tracked

if TYPE_CHECKING:
    from snakemake.script import snakemake

WAITING = "training %s: another process is at it, perhaps one that outlived its killed workflow; waiting for its end"
FILES = ("last.safetensors", "best.safetensors", "history.csv", "training.json")


def main(inputs, settings, store, code_version, how, folder):
    """Copy FILES into `folder`, if any, from `store`, where finished trainings are kept by their fingerprint.

    inputs: files of the clean training, the clean and the noisy validation images; settings: arguments of
    `tvmap.training.train`; how: threads, checkpoint_seconds, device and wandb, on which the last bits of the weights
    depend at most, so that a change asks for no other training.
    """
    hashes = [sha256(path) for path in inputs]
    schedule = settings["settings"]
    # At a constant rate a longer training begins as a shorter one does, so it may go on from that one's checkpoint.
    continuable = schedule["schedule"] == "constant" and schedule["epochs"] % schedule["validate_every"] == 0
    key = settings | {"settings": schedule | {"epochs": None}} if continuable else settings
    key = json.dumps([key, hashes, code_version], sort_keys=True)
    fingerprint = hashlib.sha256(key.encode()).hexdigest()[:16]
    kept = Path(store) / f"{fingerprint}-{schedule['epochs']}"
    with writing(kept.parent):
        kept.parent.mkdir(parents=True, exist_ok=True)
    with locked(kept.with_name(f"{kept.name}.lock"), lambda: log.warning(WAITING, fingerprint)):
        if kept.exists() and not is_intact(kept, FILES):
            aside = kept.with_name(f"{kept.name}.damaged")  # there its checkpoint, which has a checksum, is found below
            log.warning("%s: damaged since it was written; set aside as %s and trained anew", kept, aside)
            with writing(kept):
                shutil.rmtree(aside, ignore_errors=True)
                kept.rename(aside)
        if kept.exists():
            log.info("training %s was finished before: taken from %s", fingerprint, kept)
        else:
            torch.set_num_threads(how["threads"])
            images, device = stacks.training_images(inputs[0]), devices.pick(how["device"])
            validation = [torch.from_numpy(stacks.load(path)["images"])[:, None] for path in inputs[1:]]
            log.info("training %s on %s with %d threads", fingerprint, device, torch.get_num_threads())
            work = kept.with_name(f"{kept.name}.unfinished")
            with writing(work):
                work.mkdir(exist_ok=True)
            where = {"folder": work, "checkpoint_path": work / "checkpoint.pt", "fingerprint": fingerprint}
            where |= {"earlier": sorted(kept.parent.glob(f"{fingerprint}-*/*.pt"))}
            options = {"checkpoint_seconds": how["checkpoint_seconds"], "device": device, **settings}
            with tracked(how["wandb"], kept.parent.parent, fingerprint, settings) as on_epoch:
                summary = training.train(images, validation, **where, **options, on_epoch=on_epoch)
            summary |= {"fingerprint": fingerprint, "device": devices.name(device), "threads": torch.get_num_threads()}
            summary |= {"versions": machine.versions(), "machine": machine.description()}
            summary |= {"code_version": code_version, "ended": logs.now(), "max_rss_mib": logs.peak_memory()}
            write_atomically(work / "training.json", json.dumps(summary, indent=2) + "\n")
            seal(work, FILES)
            with writing(kept):
                work.rename(kept)
                if not continuable:
                    (kept / "checkpoint.pt").unlink()  # only now: a training killed until here resumes
    for name in FILES if folder else ():
        copy_atomically(kept / name, Path(folder) / name)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        how = snakemake.config["training"]  # no params: a change of them is no reason to train anew
        if snakemake.threads < how["threads"]:
            message = "training.threads is %d, and as many run on %d core(s): the same weights, but they take longer"
            log.warning(message, how["threads"], snakemake.threads)
        main(
            [snakemake.input[name] for name in ("clean_train", "clean_val", "noisy_val")],
            snakemake.params.settings,
            snakemake.params.store,
            snakemake.params.code,
            how | {"device": snakemake.config["device"]},
            Path(snakemake.output.history).parent,
        )
elif __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", type=Path, help="the file that the rule describe_training writes")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    arguments = parser.parse_args()
    with logged_to(arguments.job.with_suffix(".log")):
        job = jobs.read_job(arguments.job)
        main(**job | {"how": job["how"] | {"device": arguments.device}}, folder=None)
