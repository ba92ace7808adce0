"""Weights & Biases: off by default, offline without account or network, a clear line where it is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import smoke

from tvmap import tracking
from tvmap.errors import StudyError

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
ROWS = [{"epoch": 1, "train_loss": 0.5, "val_psnr": None}, {"epoch": 2, "train_loss": 0.25, "val_psnr": 30.5}]
# A process of its own: the package starts another one, and changes what warns and where it logs.
OFFLINE = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
from tvmap import tracking
with tracking.tracked("offline", sys.argv[1], "abc", {{"epochs": 2}}) as on_epoch:
    for row in {ROWS!r}:
        on_epoch(row)
"""


def test_off_it_needs_no_package_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with tracking.tracked(None, tmp_path, "abc", {}) as on_epoch:
        on_epoch(ROWS[0])
    assert not list(tmp_path.iterdir())


def test_without_the_package_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(StudyError, match="wandb: pip install -r envs/requirements-wandb.txt .*envs/torch.yaml"):
        with tracking.tracked("offline", tmp_path, "abc", {}):
            pass


def test_offline_a_run_is_written_and_goes_on_when_the_training_resumes(tmp_path):
    """Nothing is written outside the study's folder, no account is asked for, both runs have the training's name."""
    pytest.importorskip("wandb", reason="needs envs/requirements-wandb.txt")
    home, study = tmp_path / "home", tmp_path / "study"
    home.mkdir()
    study.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment |= {"HOME": str(home), "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    for _ in range(2):
        command = [sys.executable, "-c", OFFLINE, study]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and done.stderr == "", done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "study"]
    assert not [path for path in home.rglob("*") if path.is_file()]
    assert [path.name for path in study.iterdir()] == ["wandb"]
    logs = list(study.glob("wandb/offline-run-*-abc/run-abc.wandb"))
    assert logs and all(b"train_loss" in path.read_bytes() for path in logs)


def test_a_training_that_is_tracked_is_the_same_training(tmp_path, tmp_path_factory):
    pytest.importorskip("wandb", reason="needs envs/requirements-wandb.txt")
    folder, alone = smoke.fresh(tmp_path / "study"), smoke.finished(tmp_path_factory)
    names = [f"{smoke.RESULTS}/model/{name}" for name in ("last.safetensors", "history.csv", "training.json")]
    run = smoke.snakemake(folder, *names, change={"training": {"wandb": "offline"}})
    assert run.returncode == 0, run.stdout[-5000:]
    for name in names[:2]:
        assert (folder / name).read_bytes() == (alone / name).read_bytes(), name
    fingerprint = json.loads((folder / names[2]).read_text())["fingerprint"]
    (log,) = (folder / smoke.RESULTS).glob(f"wandb/offline-run-*-{fingerprint}/run-{fingerprint}.wandb")
    content = log.read_bytes()
    assert all(content.count(name) >= 3 for name in (b"train_loss", b"val_psnr", b"val_ssim"))  # of each epoch
