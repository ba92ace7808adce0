"""What may be published and what must not be, and that the published copy is enough to draw the figures again."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from smoke import ENVIRONMENT, RESULTS, ROOT, copy, finished

import publish_study
from tvmap import architecture, figures, model_card, network
from tvmap import looks as looks_module
from tvmap.errors import StudyError

WITHOUT_TORCH = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Without())
sys.path.insert(0, "workflow/scripts")
import redraw_figures
redraw_figures.main(*sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def looks(tmp_path, monkeypatch):
    """The log of looks at the test images, a copy."""
    path = tmp_path / "looks.csv"
    shutil.copyfile(looks_module.LOOKS, path)
    monkeypatch.setattr(looks_module, "LOOKS", path)
    return path


@pytest.fixture
def study(tmp_path_factory):
    """Folder results/smoke of a copy of the finished study."""
    return copy(tmp_path_factory) / RESULTS


def published(study, source="sample"):
    """Publish `study` as if its images came from `source`; returns the names of the files."""
    path = study / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["data"]["source"] = provenance["config"]["data"]["source"] = source
    path.write_text(json.dumps(provenance))
    target = study.parent / "reference/smoke"
    publish_study.main(study, target)
    return {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}


def pixels(names):
    return {name for name in names if name.startswith(("figures/figure4", "figures/figure5"))}


def test_sample_is_published_with_the_pixels_of_its_photographs(study):
    names = published(study)
    assert pixels(names) == {
        f"figures/{figure}_{protocol}.{ending}"
        for figure in ("figure4_examples", "figure5_maps")
        for protocol in ("fixed0.5", "uniform")
        for ending in ("png", "pdf")
    }
    assert {f"tables/{path.name}" for path in (study / "tables").iterdir()} <= names
    assert {"manifest.csv", "provenance.json", "checks/checks.csv", "model/history.csv"} <= names
    target = study.parent / "reference/smoke"
    card = (target / model_card.CARD).read_text(encoding="utf-8")
    assert card == model_card.render(study) and "Model card: smoke" in card
    copied = names - {model_card.CARD}
    assert all((target / name).read_bytes() == (study / name).read_bytes() for name in copied)


@pytest.mark.parametrize("source", ["archive", "mendeley", "folder"])
def test_pixels_of_other_images_are_never_published(study, source):
    free = published(study, "sample")
    names = published(study, source)
    assert names == free - pixels(free) and pixels(free)
    assert {name.rpartition(".")[2] for name in names} == {"csv", "md", "json", "png", "pdf", "safetensors"}
    assert not {name for name in names if name.startswith(("examples/", "clean/", "noisy/", "denoised/", "weights/"))}


@pytest.mark.parametrize("reported", ["last", "best"])
def test_only_the_reported_weights_are_published(study, reported):
    path = study / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["training"]["reported"] = reported
    path.write_text(json.dumps(provenance))
    names = published(study)
    assert [name for name in sorted(names) if name.endswith(".safetensors")] == [f"model/{reported}.safetensors"]


@pytest.mark.parametrize("source", ["sample", "archive"])
def test_a_file_that_nobody_named_is_not_copied(study, source):
    before = published(study, source)
    photograph = next((study / "figures").glob("figure4*.png"))
    strangers = ["notes.txt", "report2.html", "figures/scan.png", "figures/scan.jpg", "figures/a/figure7_boxes.png"]
    strangers += ["tables/image.npz", "model/checkpoint.pt", "checks/scan.png", "a/tables/summary.csv"]
    for name in strangers:
        (study / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photograph, study / name)
    assert published(study, source) == before


def test_what_an_earlier_publication_left_is_removed(study):
    published(study)
    old = study.parent / "reference/smoke/figures/figure4_examples_old.png"
    old.write_text("pixels")
    published(study)
    assert not old.exists()


@pytest.mark.parametrize(
    "missing",
    [
        "checks/checks.csv",
        "provenance.json",
        "manifest.csv",
        "tables/summary.csv",
        "model/last.safetensors",
        "figures/figure7_boxes.png",
    ],
)
def test_an_unfinished_study_is_refused_and_what_was_published_stays(study, missing):
    target = study.parent / "reference/smoke"
    publish_study.main(study, target)
    before = sorted(target.rglob("*"))
    (study / missing).unlink()
    with pytest.raises(StudyError, match=f"(?s){missing}.*run (it|the study)"):
        publish_study.main(study, target)
    assert sorted(target.rglob("*")) == before


@pytest.mark.parametrize("target", [".", "..", "../..", "tables", "../../workflow"])
def test_a_target_that_holds_something_else_is_not_replaced(study, target):
    before = sorted(study.parents[1].rglob("*"))
    with pytest.raises(StudyError, match="not an earlier publication"):
        publish_study.main(study, study / target)
    assert sorted(study.parents[1].rglob("*")) == before


def test_the_command_says_one_line(tmp_path_factory, tmp_path):
    repository = finished(tmp_path_factory)
    arguments = [sys.executable, "workflow/scripts/publish_study.py", "results/no", str(tmp_path / "reference")]
    run = subprocess.run(arguments, cwd=repository, env=ENVIRONMENT, capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.startswith("error: results/no: ") and run.stderr.count("\n") == 1


def test_figures_are_drawn_again_from_the_published_copy_without_torch(study):
    names = published(study, "archive")
    arguments = [sys.executable, "-c", WITHOUT_TORCH, "results/reference/smoke", "again"]
    run = subprocess.run(arguments, cwd=study.parents[1], env=ENVIRONMENT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    drawn = {path.name: path.read_bytes() for path in (study.parents[1] / "again").iterdir()}
    assert {f"figures/{name}" for name in drawn} == {name for name in names if name.startswith("figures/")}
    assert len(drawn) == 2 * 14
    assert all(data == (study / "figures" / name).read_bytes() for name, data in drawn.items())
    left_out = [line for line in run.stdout.splitlines() if "left out" in line]
    assert len(left_out) == 4 and all("examples/" in line for line in left_out)


def test_tables_are_published_by_what_the_study_has(study):
    assert "tables/courses.csv" in published(study)
    path = study / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["config"]["baselines"] = ["nlm"]
    provenance["config"]["variants"] = {"T-8": {"network": {"weights": "study"}, "solver": {"iterations": 8}}}
    assert "tables/steps.csv" not in str(figures.figures(provenance["config"])["unrolling"])
    provenance["config"]["variants"]["train-T-4"] = {"training": {"iterations": 4}}
    path.write_text(json.dumps(provenance))
    wanted = ("tables/tuning.csv", "tables/variants.csv", "tables/variants.md", "tables/steps.csv")
    drawn = ("tuning", "variants", "unrolling")
    wanted += tuple(f"figures/{name}.{ending}" for name in drawn for ending in ("png", "pdf"))
    with pytest.raises(StudyError, match="tables/tuning.csv"):
        published(study)
    for name in wanted:
        (study / name).write_text("made")
    assert set(wanted) <= published(study)


def test_a_look_at_the_test_images_is_logged_once(study, looks):
    before = looks.read_text()
    published(study, "sample")
    assert looks.read_text() == before
    published(study, "archive")
    published(study, "archive")
    line = looks.read_text().removeprefix(before)
    fingerprint = json.loads((study / "provenance.json").read_text())["training"]["fingerprint"]
    measured = "fixed0.5, uniform, 1 noise draw"
    assert line.count("\n") == 1 and f",smoke,{fingerprint},4,{measured},3 epochs, constant rate" in line.replace(
        '"', ""
    )
    path = study / "provenance.json"
    origin = json.loads(path.read_text())
    origin["config"]["baselines"] = ["nlm"]
    looks_module.log_looks(study, "smoke", origin | {"data": origin["data"] | {"source": "archive"}})
    (again,) = looks.read_text().removeprefix(before + line).splitlines()
    assert f',smoke,{fingerprint},4,"1 rival, {measured}",' in again
    origin["times"]["end"] = "2050-01-02T03:04:05Z"
    looks_module.log_looks(study, "smoke", origin | {"data": origin["data"] | {"source": "archive"}})
    assert looks.read_text().splitlines()[-1].startswith("2050-01-02,smoke,"), "measured again: another look"


def test_looks_of_the_direct_network_and_of_variants_are_logged(study, looks):
    before = looks.read_text()
    path = study / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["config"]["baselines"] = ["unet-direct"]
    provenance["training_direct"] = provenance["training"] | {"fingerprint": "direct"}
    provenance["config"]["variants"] = {
        "seed-2": {"training": {"seed": 2, "epochs": 7}},
        "given": {"network": {"weights": "study"}},
        "other": {"network": {"weights": "other.safetensors"}},
        "fold": {"data": {"fold": {"number": 1, "of": 3}}},
    }
    path.write_text(json.dumps(provenance))
    for name in ("smoke.seed-2/model", "smoke.fold/model"):
        (study.parent / name).mkdir(parents=True)
        record = {"fingerprint": name, "epochs": 7, "seconds": 1.5}
        (study.parent / name / "training.json").write_text(json.dumps(record))
    looks_module.log_looks(study, "smoke", provenance | {"data": provenance["data"] | {"source": "archive"}})
    looks_module.log_looks(study, "smoke", provenance)
    lines = looks.read_text().removeprefix(before).splitlines()
    assert len(lines) == 5
    assert ',"smoke, unet-direct",direct,4,' in lines[1] and ",smoke.seed-2,smoke.seed-2/model,4," in lines[2]
    assert ",smoke.given," in lines[3] and lines[3].split(",")[2] == lines[0].split(",")[2]
    assert ",smoke.other,," in lines[4] and lines[4].endswith('"weights of another training, other.safetensors"')


def test_weights_of_a_recipe_on_trial_are_not_published(study):
    names = published(study)
    path = study / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["config"]["data"]["fold"] = {"number": 1, "of": 5}
    path.write_text(json.dumps(provenance))
    assert names - published(study) == {"model/last.safetensors", model_card.CARD}


def test_a_fold_of_other_images_is_no_look(study, looks):
    before = looks.read_text()
    path = study / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["config"]["data"]["fold"] = {"number": 1, "of": 5}
    path.write_text(json.dumps(provenance))
    published(study, "archive")
    assert looks.read_text() == before


PUBLISHED = sorted(path.parents[1] for path in (ROOT / "results/reference").glob("*/model/*.safetensors"))


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_published_weights_have_a_model_card_with_the_published_numbers(folder):
    card = (folder / model_card.CARD).read_text(encoding="utf-8")
    assert card == model_card.render(folder), "render it again: see publish_study.py"
    assert "Not for diagnosis" in card
    assert "CC BY 4.0" in card or "photographs that come with scikit-image" in card
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", card):
        assert (folder / "model" / target).exists(), target


def test_the_card_of_one_patient_has_no_interval(tmp_path):
    """One patient alone says nothing about others: the study's table has empty cells there."""
    shutil.copytree(ROOT / "results/reference/quickstart", tmp_path / "study")
    path = tmp_path / "study/tables/gains.csv"
    before, gains = model_card.render(tmp_path / "study"), pd.read_csv(path)
    gains.assign(low=np.nan, high=np.nan).to_csv(path, index=False)
    without = re.sub(r"(\| [+−][0-9.]+) \[[^\]]+\] \|", r"\1 |", before)
    assert before.count("\n") == without.count("\n") and before != without
    assert model_card.render(tmp_path / "study") == without
    gains.assign(mean=np.nan).to_csv(path, index=False)
    with pytest.raises(StudyError, match="column mean has empty cells"):
        model_card.render(tmp_path / "study")


def test_a_card_says_what_the_study_says(tmp_path):
    """Absolute noise, one level, images of a folder, a network with a second input: 288 weights more."""
    published = ROOT / "results/reference/quickstart"
    shutil.copytree(published, tmp_path / "study")
    path = tmp_path / "study/provenance.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["config"]["noise"] |= {"kind": "absolute", "train_level": 0.1}
    content["config"]["data"]["source"] = "folder"
    path.write_text(json.dumps(content), encoding="utf-8")
    told = network.build(noise_estimate="input")
    weights = next((tmp_path / "study/model").glob("*.safetensors"))
    network.save_weights(weights, told.weights(), {"noise_estimate": "input"})
    card = model_card.render(tmp_path / "study")
    assert "standard deviation 0.1 on the scale of grey values from 0 to 1 |" in card
    assert "no source image in two of these" in card and "The images of one folder: of other images" in card
    assert f"A U-Net ({architecture.N_PARAMETERS + 288:,} parameters)" in card and "evidence" not in card
    assert "`tvmap` warns" not in card  # it warns of relative levels
