"""Training: what is drawn, that it learns, that a killed one ends with the same bits."""

import csv
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tvmap import network, steps, training
from tvmap.errors import StudyError
from tvmap.solver import solve

SETTINGS = {
    "epochs": 3,
    "batch_size": 2,
    "learning_rate": 1e-3,
    "schedule": "one_cycle",
    "epsilon": 1e-8,
    "clip_gradient": None,
    "iterations": 8,
    "gradient": "unrolled",
    "precision": "float32",
    "flips": True,
    "crop": 12,
    "ema": 0,
    "validate_every": 1,
}
OPTIONS = {
    "network": {"up_bound": 0, "padding": 0},
    "solver": {"iterations": 16, "boundary": "periodic", "norm": "anisotropic", "dual_start": "zero", "lipschitz": 3},
    "noise_kind": "relative",
    "noise_level": [0.1, 0.5],
    "seed": 42,
    "device": torch.device("cpu"),
    "fingerprint": "a",
    "checkpoint_seconds": 0,
}
FILES = ("last.safetensors", "best.safetensors", "history.csv")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(n, size=16):
    steps = np.linspace(0, 1, size, dtype=np.float32)
    return np.stack([np.outer(steps, np.roll(steps, 3 * k)) for k in range(n)])


def run(folder, images=None, settings=SETTINGS, **changes):
    folder.mkdir(exist_ok=True)
    images = pictures(5) if images is None else images
    clean = torch.from_numpy(pictures(2))[:, None]
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    options = {**OPTIONS, "folder": folder, "checkpoint_path": folder / "checkpoint.pt", **changes}
    return training.train(images, (clean, noisy), settings, **options)


def history(folder):
    with open(folder / "history.csv") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("last", "ema", "kind"), [(1, 0, "fixed"), (3, 0, "fixed"), (4, 0, "fixed"), (8, 0, "fixed"), (4, 0.9, "learned")]
)
def test_killed_and_resumed_ends_with_the_same_bits(tmp_path, monkeypatch, last, ema, kind):
    """Three batches an epoch: killed within the first epoch, at its end, in the second, before the last step."""
    settings = {"settings": {**SETTINGS, "ema": ema}, "network": {**OPTIONS["network"], "steps": kind}}
    run(tmp_path / "whole", **settings)
    compute, taken = steps.Steps.compute, []

    def killed_compute(self, size):
        if len(taken) == last:
            raise Killed
        taken.append(size)
        compute(self, size)

    monkeypatch.setattr(steps.Steps, "compute", killed_compute)
    with pytest.raises(Killed):
        run(tmp_path / "killed", **settings)
    assert (tmp_path / "killed" / "checkpoint.pt").exists()
    taken.clear()
    monkeypatch.setattr(steps.Steps, "compute", lambda self, size: taken.append(size) or compute(self, size))
    run(tmp_path / "killed", **settings)
    assert taken == ([2, 2, 1] * 3)[last:], "the finished steps were not done again"
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_same_seed_same_weights_other_seed_others(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tmp_path / name, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert (tmp_path / "a/last.safetensors").read_bytes() != (tmp_path / "c/last.safetensors").read_bytes()


@pytest.mark.parametrize("damage", ["foreign", "truncated", "nonsense"])
def test_a_checkpoint_that_does_not_fit_is_ignored(tmp_path, caplog, damage):
    run(tmp_path / "whole")
    folder = tmp_path / "run"
    folder.mkdir()
    content = {"fingerprint": "another", "state": {"step": 5}}
    torch.save(content, folder / "checkpoint.pt")
    if damage != "foreign":
        whole = (folder / "checkpoint.pt").read_bytes()
        (folder / "checkpoint.pt").write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"nonsense")
    with caplog.at_level("INFO", logger="tvmap"):
        run(folder)
    assert "not used" in caplog.text and "starts again at its first step" in caplog.text
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_checkpoint_with_one_wrong_byte_is_not_used(tmp_path, monkeypatch, caplog):
    """The file still opens, and PyTorch would take the wrong number."""
    run(tmp_path / "whole")
    compute, taken = steps.Steps.compute, []

    def killed_compute(self, size):
        if len(taken) == 4:
            raise Killed
        taken.append(size)
        compute(self, size)

    with monkeypatch.context() as patch:
        patch.setattr(steps.Steps, "compute", killed_compute)
        with pytest.raises(Killed):
            run(tmp_path / "run")
    path = tmp_path / "run/checkpoint.pt"
    whole, content = path.read_bytes(), torch.load(path, weights_only=True)
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    position = largest.header_offset + largest.file_size // 2
    path.write_bytes(whole[:position] + bytes([whole[position] ^ 64]) + whole[position + 1 :])
    changed = torch.load(path, weights_only=True)
    tensors = [
        [*found["moments"], *(t for part in (found["model"], found["state"]["best"]) for t in part.values())]
        for found in (content, changed)
    ]
    assert any(not torch.equal(*pair) for pair in zip(*tensors, strict=True))
    with caplog.at_level("INFO", logger="tvmap"):
        run(tmp_path / "run")
    assert "checkpoint.pt cannot be read (BadZipFile): not used" in caplog.text
    assert "starts again at its first step" in caplog.text
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_at_a_constant_rate_a_longer_training_goes_on_from_a_shorter_one(tmp_path, caplog):
    constant = {**SETTINGS, "schedule": "constant"}
    for name, epochs in (("long", 5), ("shorter", 3)):
        run(tmp_path / name, settings={**constant, "epochs": epochs})
    checkpoints = [tmp_path / name / "checkpoint.pt" for name in ("long", "shorter", "none")]
    with caplog.at_level("INFO", logger="tvmap"):
        run(tmp_path / "on", settings={**constant, "epochs": 4}, earlier=checkpoints)
        assert "resuming after step 9 of 12" in caplog.text, "not from the longer one"
        run(tmp_path / "on_again", settings={**constant, "epochs": 5}, earlier=[tmp_path / "on" / "checkpoint.pt"])
    assert contents(tmp_path / "on_again") == contents(tmp_path / "long")


def test_history_and_best(tmp_path):
    summary = run(tmp_path / "a", settings={**SETTINGS, "epochs": 5, "validate_every": 2})
    rows = history(tmp_path / "a")
    assert tuple(rows[0]) == training.HISTORY
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5]
    assert [bool(row["val_psnr"]) for row in rows] == [False, True, False, True, True]
    scores = {int(row["epoch"]): float(row["val_psnr"]) for row in rows if row["val_psnr"]}
    assert summary["best_epoch"] == max(scores, key=scores.get)
    assert summary["steps"] == 15 and summary["epochs"] == 5 and summary["precision"] == "float32"


def test_best_weights_are_those_of_the_best_epoch(tmp_path, monkeypatch):
    """Scores 1, 3, 2 dB in place of the real ones: kept must be the weights of the second epoch and of the last."""
    seen = []

    def scored(model, *_):
        seen.append({name: tensor.clone() for name, tensor in model.unet.state_dict().items()})
        return 0.1, (1.0, 3.0, 2.0)[len(seen) - 1], 0.5

    monkeypatch.setattr(training, "validate", scored)
    assert run(tmp_path / "a")["best_epoch"] == 2
    for name, epoch in (("best", 2), ("last", 3)):
        kept = network.load_network(tmp_path / f"a/{name}.safetensors").unet.state_dict()
        assert all(torch.equal(kept[key], tensor) for key, tensor in seen[epoch - 1].items())
    assert not torch.equal(seen[1]["last.weight"], seen[2]["last.weight"])


@pytest.mark.parametrize("kind", ["fixed", "learned"])
def test_validation_scores_the_denoised_images(tmp_path, kind):
    run(tmp_path / "a", network={**OPTIONS["network"], "steps": kind})
    clean = torch.from_numpy(pictures(2))[:, None]
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    model = network.load_network(tmp_path / "a/last.safetensors")
    ratio = float(model.weights().get("log_ratio", 0))
    denoised, _ = solve(noisy, model(noisy).detach(), **OPTIONS["solver"], log_ratio=ratio)
    assert (abs(ratio) > 1e-3) == (kind == "learned")
    mse = (denoised - clean).square().mean((1, 2, 3))
    row = history(tmp_path / "a")[-1]
    assert float(row["val_loss"]) == pytest.approx(mse.mean().item(), rel=1e-5)
    assert float(row["val_psnr"]) == pytest.approx((-10 * torch.log10(mse)).mean().item(), rel=1e-6)


def test_it_learns(tmp_path):
    """On one image and level, the trained map must beat the untrained one clearly."""
    settings = {**SETTINGS, "epochs": 60, "batch_size": 1, "crop": None, "flips": False, "validate_every": 60}
    settings["learning_rate"] = 3e-4
    images = pictures(1, 24)
    run(tmp_path / "a", images, settings, noise_level=0.5)
    losses = [float(row["train_loss"]) for row in history(tmp_path / "a")]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:3])


def test_the_gradient_of_the_solution_trains_too(tmp_path):
    """After many iterations it is that of the steps, so the trainings begin alike; a validation asks for none."""
    for gradient in ("unrolled", "closed_form"):
        run(tmp_path / gradient, settings={**SETTINGS, "gradient": gradient, "iterations": 2000, "crop": None})
    losses = [[float(row["train_loss"]) for row in history(tmp_path / g)] for g in ("unrolled", "closed_form")]
    assert losses[0] == pytest.approx(losses[1], rel=0.01) and losses[0] != losses[1]
    run(tmp_path / "few", settings={**SETTINGS, "gradient": "closed_form"})
    run(tmp_path / "steps")
    assert contents(tmp_path / "few") != contents(tmp_path / "steps")


def test_schedule_of_the_rate(tmp_path):
    for schedule in ("constant", "one_cycle"):
        run(tmp_path / schedule, settings={**SETTINGS, "schedule": schedule, "epochs": 6})
    rates = {s: [float(row["learning_rate"]) for row in history(tmp_path / s)] for s in ("constant", "one_cycle")}
    assert rates["constant"] == [1e-3] * 6
    assert rates["one_cycle"][-1] < 1e-6 and 9e-4 < max(rates["one_cycle"]) <= 1e-3


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    images = pictures(5)
    images[2, 3, 3] = np.nan
    with pytest.raises(StudyError, match="training: the loss is nan in epoch 1"):
        run(tmp_path / "a", images, {**SETTINGS, "crop": None})


def test_clipping_scales_large_gradients_down(tmp_path, monkeypatch):
    norms = []
    step = torch.optim.Adam.step

    def watched(self, *args, **options):
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    run(tmp_path / "free")
    free, norms[:] = list(norms), []
    limit = float(np.median(free))
    run(tmp_path / "clipped", settings={**SETTINGS, "clip_gradient": limit})
    assert max(free) > limit * 1.01
    assert max(norms) <= limit * 1.0001 and norms[0] == pytest.approx(min(free[0], limit), rel=1e-4)


def test_epsilon_reaches_adam(tmp_path):
    weights = []
    for epsilon in (1e-8, 1e-2):
        run(tmp_path / str(epsilon), settings={**SETTINGS, "epsilon": epsilon})
        weights.append((tmp_path / str(epsilon) / "last.safetensors").read_bytes())
    assert weights[0] != weights[1]


@pytest.mark.parametrize("kind", ["fixed", "learned"])
def test_a_map_that_collapsed_ends_the_training(tmp_path, monkeypatch, kind):
    """Far below 0 softplus has no slope left: the user must be told, not left with the noisy image.

    The ratio of the steps may still have a gradient then, as the iterates from p₀ = z depend on it.
    """
    build = training.build

    def collapsed(*args, **options):
        model = build(*args, **options)
        model.unet.last.bias.data[:] = -1e4
        return model

    monkeypatch.setattr(training, "build", collapsed)
    options = {"network": {**OPTIONS["network"], "steps": kind}, "solver": {**OPTIONS["solver"], "dual_start": "image"}}
    with pytest.raises(StudyError, match="collapsed to 0 in epoch 1.*clip_gradient"):
        run(tmp_path / "a", **options)


@pytest.mark.parametrize("content", [None, "{", "{}", '{"how": {}, "more": 1}', '{"how": 3}'])
def test_a_job_for_a_machine_without_snakemake_that_is_none_is_said(tmp_path, content):
    job = tmp_path / "job.json"
    if content is not None:
        job.write_text(content)
    script = Path(training.__file__).parents[1] / "train.py"
    run = subprocess.run([sys.executable, script, job], capture_output=True, text=True, timeout=120)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert f"{job}: not the description of a training (" in run.stderr and "rule describe_training" in run.stderr
