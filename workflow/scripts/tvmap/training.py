"""Training of NET_Θ end to end through the unrolled solver: minimise the mean of ‖x̂(z; Λ_Θ(z)) − x‖² / pixels over Θ.

Every random number belongs to a key (seed, epoch, position), none to a generator's past. So a training that was killed
and resumed from its checkpoint ends with the same bits as one that was not (on one machine, at one number of threads).
"""

import logging
import math
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from .errors import StudyError
from .files import write_atomically
from .metrics import psnr, ssim
from .network import build, predict_maps, save_weights
from .noise import generator, noise_std
from .solver import solve

log = logging.getLogger("tvmap")

HISTORY = ("epoch", "learning_rate", "train_loss", "val_loss", "val_psnr", "val_ssim")


def training_example(image, seed, epoch, index, *, noise_level, noise_kind, crop, flips):
    """(clean, noisy), float32 (h, w), of training image `index` in `epoch`: noise, level, crop and flip drawn anew."""
    random = generator(seed, "training", epoch, index)
    level = random.uniform(*noise_level) if isinstance(noise_level, (list, tuple)) else noise_level
    height, width = (min(crop or side, side) for side in image.shape)
    top, left = (int(random.integers(side - cut + 1)) for side, cut in zip(image.shape, (height, width), strict=True))
    flip = flips and random.random() < 0.5
    clean = image[top : top + height, left : left + width]
    std = noise_std(image, level, noise_kind)  # of the whole image, whatever the crop
    noisy = clean + std * random.standard_normal(clean.shape, dtype="float32")
    return (clean[:, ::-1], noisy[:, ::-1]) if flip else (clean, noisy)


def training_batch(images, seed, epoch, indices, device, **options):
    """The examples of `indices` as two tensors (B, 1, h, w) on `device`."""
    pairs = [training_example(images[i], seed, epoch, i, **options) for i in indices]
    return (
        torch.stack([torch.from_numpy(a.astype("float32", copy=True)) for a in part])[:, None].to(device)
        for part in zip(*pairs, strict=True)
    )


def validate(network, clean, noisy, solver):
    """Mean (MSE, PSNR in dB, SSIM) of the denoised validation images; data range 1, Gaussian window, no clamping."""
    network.eval()
    with torch.inference_mode():
        denoised = torch.cat([solve(z[None], predict_maps(network, z[None]), **solver)[0] for z in noisy])
        mse = F.mse_loss(denoised.double(), clean.double())
        means = psnr(clean, denoised, data_range=1).mean(), ssim(clean, denoised, data_range=1).mean()
    network.train()
    return mse.item(), *(mean.item() for mean in means)


def _optimiser(network, settings, n_steps):
    optimiser = torch.optim.Adam(network.parameters(), settings["learning_rate"], fused=True)
    if settings["schedule"] == "one_cycle":
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings["learning_rate"], n_steps, cycle_momentum=False
        )
    else:
        schedule = torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1, total_iters=0)
    return optimiser, schedule


def _resume(paths, fingerprint, n_steps):
    """The furthest checkpoint of this training at `paths`, or None; damaged, foreign and longer ones are ignored."""
    found = None
    for path in filter(Path.exists, map(Path, paths)):
        try:
            checkpoint = torch.load(path, weights_only=True, map_location="cpu")
            step = checkpoint["state"]["step"]
            if checkpoint["fingerprint"] != fingerprint:
                log.info("%s belongs to another training (settings, data or code differ): not used", path)
            elif step <= n_steps and (found is None or step > found["state"]["step"]):
                found = checkpoint
        except Exception as error:  # whatever a damaged file makes the reader raise
            log.warning("%s cannot be read (%s): not used", path, type(error).__name__)
    return found


def _history_text(rows):
    lines = (",".join("" if value is None else repr(value) for value in row) for row in rows)
    return "\n".join([",".join(HISTORY), *lines]) + "\n"


def train(
    images,
    validation,
    settings,
    *,
    network,
    solver,
    noise_kind,
    noise_level,
    seed,
    device,
    folder,
    fingerprint,
    checkpoint_path,
    checkpoint_seconds,
    earlier=(),
):
    """Train and write last.safetensors, best.safetensors, history.csv into `folder`; return a summary dict.

    images: float32 (n, H, W) in [0, 1]; validation: (clean, noisy), tensors (n, 1, H, W); settings: `training` of the
    config; network, solver: its sections of these names. The furthest checkpoint of this `fingerprint` at
    `checkpoint_path` or among `earlier` is resumed; it is written anew every `checkpoint_seconds` and at the end.
    """
    started, folder = time.perf_counter(), Path(folder)
    network_settings = {**network, "precision": settings["precision"]}
    model = build(**network_settings, seed=seed).to(device).train()
    validation = [tensor.to(device) for tensor in validation]
    epochs, batch_size = settings["epochs"], settings["batch_size"]
    n_batches = math.ceil(len(images) / batch_size)
    network_parameters = list(model.parameters())
    optimiser, schedule = _optimiser(model, settings, epochs * n_batches)
    train_solver = {**solver, "iterations": settings["iterations"]}
    example = {
        "noise_level": noise_level,
        "noise_kind": noise_kind,
        "crop": settings["crop"],
        "flips": settings["flips"],
    }

    state = {"step": 0, "loss": 0.0, "history": [], "best": None, "best_epoch": 0, "seconds": 0.0}
    checkpoint = _resume([checkpoint_path, *earlier], fingerprint, epochs * n_batches)
    if checkpoint:
        state = checkpoint["state"]
        model.unet.load_state_dict(checkpoint["model"])
        optimiser.load_state_dict(checkpoint["optimiser"])
        schedule.load_state_dict(checkpoint["schedule"])
        log.info("resuming after step %d of %d", state["step"], epochs * n_batches)
    seconds_before, first_step, saved = state["seconds"], state["step"], started
    write_atomically(folder / "history.csv", _history_text(state["history"]))

    for step in range(state["step"], epochs * n_batches):
        epoch, batch = divmod(step, n_batches)
        if batch == 0 or step == first_step:
            order = generator(seed, "order", epoch).permutation(len(images)).tolist()
        indices = order[batch * batch_size : (batch + 1) * batch_size]
        clean, noisy = training_batch(images, seed, epoch, indices, device, **example)
        denoised, _ = solve(noisy, model(noisy), **train_solver)
        loss = F.mse_loss(denoised, clean)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if settings["clip_gradient"] is not None:
            torch.nn.utils.clip_grad_norm_(network_parameters, settings["clip_gradient"])
        optimiser.step()
        learning_rate = schedule.get_last_lr()[0]
        schedule.step()
        state["loss"] += loss.item() * len(indices)
        state["step"] = step + 1

        if batch == n_batches - 1:
            row = [epoch + 1, learning_rate, state["loss"] / len(images), None, None, None]
            if not math.isfinite(row[2]):
                raise StudyError(f"training: the loss is {row[2]} in epoch {epoch + 1}; lower training.learning_rate")
            if torch.nn.utils.get_total_norm([p.grad for p in network_parameters]) == 0:
                raise StudyError(
                    f"training: the map has collapsed to 0 in epoch {epoch + 1}, from where no gradient leads back; "
                    "set training.clip_gradient or lower training.learning_rate"
                )
            if (epoch + 1) % settings["validate_every"] == 0 or epoch + 1 == epochs:
                row[3:] = validate(model, *validation, solver)
                if not math.isfinite(row[3]):
                    raise StudyError(
                        f"training: the validation loss is {row[3]} in epoch {epoch + 1}; check the images"
                    )
                if row[4] > max((r[4] for r in state["history"] if r[4] is not None), default=-math.inf):
                    state["best_epoch"] = epoch + 1
                    state["best"] = {name: t.detach().cpu().clone() for name, t in model.unet.state_dict().items()}
            state["history"].append(row)
            state["loss"] = 0.0
            with open(folder / "history.csv", "a") as file:
                file.write(_history_text([row]).split("\n", 1)[1])
            elapsed = time.perf_counter() - started
            left = elapsed / (step + 1 - first_step) * (epochs * n_batches - step - 1)
            scores = f"validation {row[4]:.3f} dB, SSIM {row[5]:.4f}, " if row[4] is not None else ""
            log.info("epoch %d/%d: loss %.6f, %s%.1f min left", epoch + 1, epochs, row[2], scores, left / 60)

        if time.perf_counter() - saved > checkpoint_seconds or step + 1 == epochs * n_batches:
            saved = time.perf_counter()
            state["seconds"] = seconds_before + saved - started
            _save_checkpoint(checkpoint_path, fingerprint, state, model, optimiser, schedule)

    save_weights(folder / "last.safetensors", model.unet.state_dict(), network_settings)
    save_weights(folder / "best.safetensors", state["best"], network_settings)
    seconds = seconds_before + time.perf_counter() - started
    return {"epochs": epochs, "steps": epochs * n_batches, "best_epoch": state["best_epoch"], "seconds": seconds}


def _save_checkpoint(path, fingerprint, state, model, optimiser, schedule):
    partial = Path(path).with_suffix(".partial")
    content = {"fingerprint": fingerprint, "state": state, "model": model.unet.state_dict()}
    torch.save({**content, "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}, partial)
    partial.replace(path)
