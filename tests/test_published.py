"""What was published belongs to the configurations that are here: whoever runs these gets those tables."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from smoke import ROOT

from tvmap import comparison, formats, looks, model_card, origins
from tvmap.files import sha256
from tvmap.study import drop_protocols, merge

PUBLISHED = sorted(path.parent for path in ROOT.glob("results/reference/*/provenance.json"))
WHERE_IT_RAN = {"data.archive", "training.threads"}
EARLIER = {  # keys that were others when a study was published, and changed no result of it
    "xray-fast": {"training.device"},
}


EARLY = {  # published before commit, machines and times were recorded: their training alone names code and machine
    *("cross-validation", "dissertation-120-epochs", "seeds", "xray-fast", "xray-tgv"),
}


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def stack(name):
    """Names of the overlays of a study, as the command in the comment above its own says, or its own alone."""
    comment = (ROOT / f"workflow/studies/{name}.yaml").read_text(encoding="utf-8").split("\nstudy:")[0]
    return re.findall(r"workflow/studies/(\S+)\.yaml", comment) or [name]


def settings(config, path=""):
    """{path of a key: value}; of weights the name of their file alone, and one for both ways to the X-rays' archive."""
    found = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= settings(value, f"{path}{key}.")
        elif key in ("weights", "weights_direct") and value:
            found[path + key] = Path(value).name
        elif key == "source":
            found[path + key] = {"mendeley": "archive"}.get(value, value)
        else:
            found[path + key] = sorted(value) if key == "baselines" else value
    return found


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_published_study_has_the_settings_of_its_overlays(folder):
    """A key that it does not know has the value of config.yaml by now: what it did before there was a choice."""
    config = read(ROOT / "config.yaml")
    default = {key: value for key, value in settings(config).items() if not key.startswith("noise.protocols.")}
    names = stack(folder.name)
    assert names[-1] == folder.name
    for name in names:
        config = merge(config, read(ROOT / f"workflow/studies/{name}.yaml"))
    drop_protocols(config)
    wanted, provenance = settings(config), json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    published = default | settings(provenance["config"])
    of_others = WHERE_IT_RAN | EARLIER.get(folder.name, set())
    differ = {key for key in wanted.keys() | published.keys() if wanted.get(key) != published.get(key)}
    assert differ <= of_others, {key: (wanted.get(key), published.get(key)) for key in differ - of_others}
    for key, of in (("weights", "training"), ("weights_direct", "training_direct")):
        if path := config["network"][key]:
            assert sha256(ROOT / path) == provenance[of]["weights_sha256"], path


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_published_study_says_where_it_comes_from(folder):
    found = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert found["versions"]["torch"] and found["data"]["manifest_sha256"] and found["training"]["fingerprint"]
    if folder.name in EARLY:
        assert found["code_version"] and found["machine"]["cpu"] and "code" not in found
        return
    assert re.fullmatch("[0-9a-f]{40}", found["code"]["commit"]) and found["code"]["changed"] is False
    assert found["times"]["start"] < found["times"]["end"] and found["machines"]


def test_readme_names_the_studies_whose_provenance_says_less():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    named = re.search(r"those of (.*?) were published before commit, machines and times were recorded", text)[1]
    assert set(re.findall(r"`(\S+)`", named)) == EARLY


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_of_the_checks_of_a_published_study_the_relative_gap_alone_may_fail(folder):
    """As the report says beside them."""
    checks = pd.read_csv(folder / "checks/checks.csv")
    assert checks.loc[~checks["holds"], "check"].str.startswith("relative gap").all() and checks["holds"].sum() > 8


MEASURED = [folder for folder in PUBLISHED if (folder / "tables/per_image.csv").is_file()]


@pytest.mark.parametrize("folder", MEASURED, ids=lambda folder: folder.name)
def test_published_means_and_gains_follow_from_the_published_measurements(folder):
    config = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["config"]
    report = config["report"]
    options = {"resamples": report["bootstrap"], "confidence": report["confidence"], "seed": config["seed"]}
    per_image = pd.read_csv(folder / "tables/per_image.csv", dtype={"id": str, "patient": str})
    for name, made in (("summary", comparison.summarise), ("gains", comparison.paired_gains)):
        there, found = pd.read_csv(folder / f"tables/{name}.csv"), made(per_image, options)
        pd.testing.assert_frame_equal(there, found[there.columns], rtol=1e-9, atol=1e-12)


def test_every_published_study_of_the_test_x_rays_is_in_the_log_of_looks():
    logged = set(pd.read_csv(looks.LOOKS, dtype=str)[["study", "fingerprint"]].itertuples(index=False, name=None))
    n_studies = 0
    for folder in PUBLISHED:
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        config = provenance["config"]
        if not origins.origin(config["data"]["source"]).x_rays or config["data"].get("fold"):
            continue
        n_studies += 1
        assert (folder.name, provenance["training"]["fingerprint"]) in logged, folder.name
        if direct := provenance.get("training_direct"):
            assert (f"{folder.name}, unet-direct", direct["fingerprint"]) in logged, folder.name
        names = {study for study, _ in logged}
        assert {f"{folder.name}.{variant}" for variant in config.get("variants") or {}} <= names, folder.name
    assert n_studies > 6


def test_card_of_the_network_without_tv():
    """It has no study of its own whose tables `tvmap.model_card` could take; the numbers are those of `evidence`."""
    folder = ROOT / "results/reference/unet-direct/model_direct"
    card = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
    record = json.loads((folder / "training.json").read_text())
    where = f"{record['threads']} threads of {record['machine']['cpu']}"
    training = (
        f"{record['epochs']} epochs, {record['steps']:,} steps, {formats.duration(record['seconds'])} on {where};"
    )
    assert f"({model_card.n_numbers(folder / 'last.safetensors'):,} parameters)" in card and training in card
    assert f"| precision | {record['precision']} |" in card and f"code {record['code_version']} |" in card
    summary = pd.read_csv(ROOT / "results/reference/evidence/tables/summary.csv").set_index(["method", "protocol"])
    half, varied = (summary.loc["unet-direct", protocol] for protocol in ("fixed0.5", "uniform"))
    assert f"{half.psnr_mean:.2f} dB (SSIM {half.ssim_mean:.3f}) at noise level 0.5" in card
    assert f"and {varied.psnr_mean:.2f} dB ({varied.ssim_mean:.3f}) at levels from U[0.1, 0.5]" in card
