"""Training of NET_Θ end to end through the unrolled solver: minimise the mean of ‖x̂(z; Λ_Θ(z)) − x‖² / pixels over Θ.

A step asks the host for nothing: on a GPU it is one CUDA graph, and the loss is read once an epoch. A training that was
killed and resumed from its checkpoint ends with the same bits as one that was not (on one CPU, at one number of
threads; some of a GPU's sums are in no fixed order).
"""

import copy
import io
import math
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .batches import Batches
from .devices import keep_freed_memory, precision
from .errors import StudyError
from .files import PathLike, write_atomically
from .history import HISTORY
from .logs import log
from .metrics import psnr, ssim
from .network import MapNetwork, build, denoise, save_weights
from .noise import Level
from .steps import Steps


def validate(
    network: MapNetwork, clean: torch.Tensor, noisy: torch.Tensor, solver: Mapping[str, Any]
) -> tuple[float, ...]:
    """Mean (MSE, PSNR in dB, SSIM) of the denoised validation images; data range 1, Gaussian window, no clamping."""
    network.eval()
    with torch.inference_mode():
        denoised = denoise(network, noisy, solver)
        mse = F.mse_loss(denoised.double(), clean.double())
        means = psnr(clean, denoised, data_range=1).mean(), ssim(clean, denoised, data_range=1).mean()
    network.train()
    return mse.item(), *(mean.item() for mean in means)


def learning_rates(settings: Mapping[str, Any], n_steps: int) -> torch.Tensor:
    """The learning rate of every step, float64 (n_steps,), as PyTorch's schedulers set it."""
    rate, schedule = settings["learning_rate"], settings["schedule"]
    if schedule == "constant":
        return torch.full((n_steps,), rate, dtype=torch.float64)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], rate)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, n_steps, cycle_momentum=False)
    rates = []
    for _ in range(n_steps):
        rates.append(scheduler.get_last_lr()[0])
        optimiser.step()
        scheduler.step()
    return torch.tensor(rates, dtype=torch.float64)


def _resume(paths: Iterable[PathLike], fingerprint: str, n_steps: int) -> dict[str, Any] | None:
    """The furthest checkpoint of this training at `paths`, or None; damaged, foreign and longer ones are ignored."""
    found, refused = None, False
    for path in filter(Path.exists, dict.fromkeys(map(Path, paths))):
        try:
            with zipfile.ZipFile(path) as archive:  # PyTorch does not look at the checksums in its files
                if archive.testzip():
                    raise zipfile.BadZipFile
            checkpoint = torch.load(path, weights_only=True, map_location="cpu")
            step = checkpoint["state"]["step"]
            if checkpoint["fingerprint"] != fingerprint:
                refused = True
                log.info("%s belongs to another training (settings, data or code differ): not used", path)
            elif step <= n_steps and (found is None or step > found["state"]["step"]):
                found = checkpoint
        except Exception as error:  # whatever a damaged file makes the reader raise
            refused = True
            log.warning("%s cannot be read (%s): not used", path, type(error).__name__)
    if refused and found is None:
        log.warning("no other checkpoint: the training starts again at its first step")
    return found


def _history_text(rows: Iterable[Sequence[float | None]]) -> str:
    lines = (",".join("" if value is None else repr(value) for value in row) for row in rows)
    return "\n".join([",".join(HISTORY), *lines]) + "\n"


def prepare(
    images: np.ndarray,
    settings: Mapping[str, Any],
    *,
    network: Mapping[str, Any],
    solver: Mapping[str, Any],
    noise_kind: str,
    noise_level: Level,
    seed: int,
    device: torch.device,
) -> tuple[MapNetwork, MapNetwork, Steps]:
    """(model, the one to report, `Steps`) at the start of the training; arguments as those of `train`.

    Reported is the average of the weights where the settings ask for it, otherwise the model itself.
    """
    model = build(**network, precision=settings["precision"], seed=seed).to(device).train()
    reported = copy.deepcopy(model) if settings["ema"] else model  # holds the average of the weights
    cut = {name: settings[name] for name in ("crop", "flips")}
    batches = Batches(
        images, seed, settings["batch_size"], device, noise_level=noise_level, noise_kind=noise_kind, **cut
    )
    averages = reported.parameters() if settings["ema"] else ()
    options = {"clip": settings["clip_gradient"], "averages": averages, "decay": settings["ema"]}
    unrolled = {**solver, **{name: settings[name] for name in ("iterations", "gradient")}}
    return model, reported, Steps(model, batches, unrolled, **options, epsilon=settings["epsilon"])


def train(
    images: np.ndarray,
    validation: Iterable[torch.Tensor],
    settings: Mapping[str, Any],
    *,
    network: Mapping[str, Any],
    solver: Mapping[str, Any],
    noise_kind: str,
    noise_level: Level,
    seed: int,
    device: torch.device,
    folder: PathLike,
    fingerprint: str,
    checkpoint_path: PathLike,
    checkpoint_seconds: float,
    earlier: Iterable[PathLike] = (),
    on_epoch: Callable[[dict[str, float | None]], object] = lambda row: None,
) -> dict[str, Any]:
    """Train and write last.safetensors, best.safetensors, history.csv into `folder`; return a summary dict.

    images: float32 (n, H, W) or (n, views, H, W) in [0, 1]; validation: (clean, noisy), tensors (n, 1, H, W); settings:
    `training` of the config; network, solver: its sections of these names. The furthest checkpoint of this
    `fingerprint` at `checkpoint_path` or among `earlier` is resumed; it is written anew every `checkpoint_seconds` and
    at the end. `on_epoch` is called after each epoch with its row of the history, {name in HISTORY: number or None}.

    Raises:
        StudyError: a loss that is not finite, or a map that has collapsed to 0.
    """
    started, folder = time.perf_counter(), Path(folder)
    clean, noisy = (tensor.to(device) for tensor in validation)
    epochs, batch_size = settings["epochs"], settings["batch_size"]
    n_batches = math.ceil(len(images) / batch_size)
    n_steps = epochs * n_batches
    rates = learning_rates(settings, n_steps)
    keep_freed_memory()
    start: dict[str, Any] = {
        "network": network,
        "solver": solver,
        "noise_kind": noise_kind,
        "noise_level": noise_level,
        "seed": seed,
    }
    model, reported, steps = prepare(images, settings, **start, device=device)

    state: dict[str, Any] = {"step": 0, "loss": 0.0, "history": [], "best": None, "best_epoch": 0, "seconds": 0.0}
    checkpoint = _resume([checkpoint_path, *earlier], fingerprint, n_steps)
    if checkpoint:
        state = checkpoint["state"]
        model.load_weights(checkpoint["model"])
        reported.load_weights(checkpoint["reported"])
        for tensor, kept in zip(steps.moments, checkpoint["moments"], strict=True):
            tensor.copy_(kept)
        steps.loss_sum.fill_(state["loss"])
        log.info("resuming after step %d of %d", state["step"], n_steps)
    seconds_before, first_step, saved = state["seconds"], state["step"], started
    write_atomically(folder / "history.csv", _history_text(state["history"]))

    for step in range(state["step"], n_steps):
        epoch, batch = divmod(step, n_batches)
        if batch == 0 or step == first_step:
            steps.begin(epoch, rates[epoch * n_batches : (epoch + 1) * n_batches], batch * batch_size)
        steps.take(min(batch_size, len(images) - batch * batch_size))
        state["step"] = step + 1

        if batch == n_batches - 1:
            row = [epoch + 1, rates[step].item(), steps.loss_sum.item() / len(images), None, None, None]
            steps.loss_sum.zero_()
            if not math.isfinite(row[2]):
                raise StudyError(f"training: the loss is {row[2]} in epoch {epoch + 1}; lower training.learning_rate")
            if steps.gradient_norm.item() == 0:
                raise StudyError(
                    f"training: the map has collapsed to 0 in epoch {epoch + 1}, from where no gradient leads back; "
                    "set training.clip_gradient or lower training.learning_rate"
                )
            if (epoch + 1) % settings["validate_every"] == 0 or epoch + 1 == epochs:
                row[3:] = validate(reported, clean, noisy, solver)
                if not math.isfinite(row[3]):
                    raise StudyError(
                        f"training: the validation loss is {row[3]} in epoch {epoch + 1}; check the images"
                    )
                if row[4] > max((r[4] for r in state["history"] if r[4] is not None), default=-math.inf):
                    state["best_epoch"] = epoch + 1
                    state["best"] = {name: t.detach().cpu().clone() for name, t in reported.weights().items()}
            state["history"].append(row)
            write_atomically(folder / "history.csv", _history_text(state["history"]))
            on_epoch(dict(zip(HISTORY, row, strict=True)))
            elapsed = time.perf_counter() - started
            left = elapsed / (step + 1 - first_step) * (n_steps - step - 1)
            scores = f"validation {row[4]:.3f} dB, SSIM {row[5]:.4f}, " if row[4] is not None else ""
            log.info("epoch %d/%d: loss %.6f, %s%.1f min left", epoch + 1, epochs, row[2], scores, left / 60)

        if time.perf_counter() - saved > checkpoint_seconds or step + 1 == n_steps:
            saved = time.perf_counter()
            state["seconds"], state["loss"] = seconds_before + saved - started, steps.loss_sum.item()
            _save_checkpoint(checkpoint_path, fingerprint, state, model, reported, steps.moments)

    network_settings = {**network, "precision": settings["precision"]}
    save_weights(folder / "last.safetensors", reported.weights(), network_settings)
    save_weights(folder / "best.safetensors", state["best"], network_settings)
    seconds = seconds_before + time.perf_counter() - started
    summary = {"epochs": epochs, "steps": n_steps, "best_epoch": state["best_epoch"], "seconds": seconds}
    return summary | {"precision": precision(settings["precision"], device)}


def _save_checkpoint(
    path: PathLike,
    fingerprint: str,
    state: Mapping[str, Any],
    model: MapNetwork,
    reported: MapNetwork,
    moments: Sequence[torch.Tensor],
) -> None:
    content = {"fingerprint": fingerprint, "state": state, "moments": moments}
    content |= {"model": model.weights(), "reported": reported.weights()}
    data = io.BytesIO()
    torch.save(content, data)
    write_atomically(path, data.getbuffer())
