"""The schema fits config.yaml and the studies, and every mistake becomes one line that names its key."""

import copy

import pytest
import yaml
from smoke import ROOT

from tvmap import config
from tvmap.errors import StudyError
from tvmap.study import drop_protocols, merge, variants

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
STUDIES = sorted((ROOT / "workflow/studies").glob("*.yaml"))


def read(path):
    return yaml.safe_load(path.read_text())


def leaves(tree, path=()):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def message(overlay, schema=SCHEMA):
    with pytest.raises(StudyError) as caught:
        config.check(merge(read(ROOT / "config.yaml"), overlay), schema)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_config_yaml_is_valid():
    config.check(read(ROOT / "config.yaml"), SCHEMA)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_study_is_valid_and_named_like_its_file(path, tmp_path):
    study = merge(read(ROOT / "config.yaml"), read(path))
    source = study["data"]["source"]
    if source == "archive":
        (tmp_path / "archive.zip").touch()
        study["data"]["archive"] = str(tmp_path / "archive.zip")
    elif source == "folder":
        study["data"]["folder"] = str(tmp_path)
    drop_protocols(study)  # as the workflow does
    config.check(study, SCHEMA)
    assert study["study"] == path.stem


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_study_holds_only_what_differs(path):
    base = dict(leaves(read(ROOT / "config.yaml")))
    same = [key for key, value in leaves(read(path)) if base.get(key, ...) == value]
    assert not same


def test_schema_lists_the_keys_of_config_yaml_and_describes_them():
    def compare(schema, tree, path):
        if tree is None:
            return  # left out here, all keys of it needed there
        assert set(schema["properties"]) == set(tree) == set(schema["required"]), path
        assert schema["additionalProperties"] is False, path
        for name, entry in schema["properties"].items():
            assert entry["description"], (*path, name)
            if "properties" in entry:
                compare(entry, tree[name], (*path, name))

    compare(read(SCHEMA), read(ROOT / "config.yaml"), ())


@pytest.mark.parametrize(
    ("overlay", "start"),
    [
        ({"training": {"epoch": 3}}, "training.epoch is not a known key; did you mean training.epochs?"),
        ({"epochs": 3}, "epochs is not a known key; did you mean training.epochs?"),
        (
            {"grid": {"xyz": 3}},
            "grid.xyz is not a known key; known here: maximum, minimum, refine, shard_images, shards, values",
        ),
        ({"training": {"epochs": -3}}, "training.epochs: -3 is less than the minimum of 1; passes over"),
        ({"training": {"epochs": 3.0}}, "training.epochs: 3.0 is not of type 'integer'"),
        ({"training": {"flips": 1}}, "training.flips: 1 is not of type 'boolean'"),
        ({"training": {"learning_rate": "1e-4"}}, "training.learning_rate: '1e-4' is not of type 'number'; "),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate: nan is not a finite number"),
        ({"noise": {"train_level": [0.1, float("inf")]}}, "noise.train_level.1: inf is not a finite number"),
        ({"device": "gpu"}, "device: 'gpu' is not one of ['auto', 'cpu', 'cuda']"),
        ({"solver": {"lipschitz": 8}}, "solver.lipschitz: 8 is not one of [3, 'sqrt13']"),
        ({"grid": None}, "grid: None is not of type 'object'; the scalar weights"),
        ({"study": "../up"}, "study: '../up' does not match"),
        ({"data": {"val_ids": ["a", "b/c"]}}, "data.val_ids.1: 'b/c' does not match"),
        ({"data": {"val_ids": ["a", "a"]}}, "data.val_ids: ['a', 'a'] has non-unique elements"),
        ({"data": {"size": 8}}, "data.size: 8 is less than the minimum of 16"),
        ({"data": {"mendeley": {"url": "ftp://host/file"}}}, "data.mendeley.url: 'ftp://host/file' does not match"),
        ({"data": {"mendeley": {"sha256": "12"}}}, "data.mendeley.sha256: '12' does not match"),
        ({"noise": {"protocols": {"a_b": 0.5}}}, "noise.protocols: 'a_b' does not match"),
        ({"noise": {"protocols": {0.5: 0.5}}}, "noise.protocols.0.5: the key 0.5 is not text; put it in quotes"),
        ({"noise": {"protocols": {"far": 11}}}, "noise.protocols.far: 11 does not fit; one"),
        ({"noise": {"protocols": {"no": 0}}}, "noise.protocols.no: 0 does not fit"),
        ({"noise": {"protocols": {"one": [0.1]}}}, "noise.protocols.one: [0.1] does not fit"),
        ({"noise": {"protocols": {"back": [0.5, 0.1]}}}, "noise.protocols.back: [0.5, 0.1] is not ordered"),
        ({"noise": {"train_level": [0.5, 0.1]}}, "noise.train_level: [0.5, 0.1] is not ordered"),
        ({"grid": {"minimum": 0.8}}, "grid.maximum: 0.8 is not above grid.minimum, 0.8"),
        ({"network": {"penalty": "huber"}}, "network.penalty: 'huber' is not one of ['tv', 'tgv']"),
        ({"network": {"penalty": "tgv"}}, "network.maps: network.penalty is tgv, which takes two maps; set"),
        ({"training": {"crop": 512}}, "training.crop: 512 is larger than data.size, 256"),
        (
            {"training": {"gradient": "closed_form"}, "solver": {"norm": "isotropic"}},
            "training.gradient: closed_form is for solver.norm anisotropic and device cpu; set it to unrolled",
        ),
        ({"training": {"gradient": "closed_form"}, "device": "cuda"}, "training.gradient: closed_form is for"),
        (
            {"training": {"validation_protocol": "fixed"}},
            "training.validation_protocol: 'fixed' is not in noise.protocols; use one of fixed0.5, uniform",
        ),
        ({"report": {"confidence": 1}}, "report.confidence: 1 is greater than or equal to the maximum of 1"),
        ({"data": {"source": "archive"}}, "data.archive: is not set, but data.source is archive; give it with"),
        ({"data": {"source": "archive", "archive": "no.zip"}}, "data.archive: there is no file 'no.zip'; give"),
        ({"data": {"source": "archive", "archive": "n" * 5000}}, "data.archive: there is no file"),
        ({"study": "name\n"}, "study: 'name\\n' has control characters"),
        ({"study": "n" * 300}, "study: 'nnn"),
        ({"noise": {"protocols": {"a\n": 0.1}}}, "noise.protocols: 'a\\n' has control characters"),
        ({"data": {"images": {"train": 10**400}}}, "data.images.train"),
        ({"grid": {"shards": 10**9}}, "grid.shards"),
        ({"training": {"threads": 10**6}}, "training.threads"),
        ({"data": {"source": "folder", "folder": "no/such"}}, "data.folder: there is no folder 'no/such'; give"),
    ],
)
def test_mistake_is_named(overlay, start):
    assert message(overlay).startswith(start)


def test_tgv_refuses_in_the_configuration_what_its_solver_would_refuse():
    solver = pytest.importorskip("tvmap.solver")
    tgv = {"data": {"source": "sample"}, "network": {"maps": 2, "penalty": "tgv"}}
    needed = {key: solver.OF_TV_ALONE[key] for key in ("norm", "dual_start", "lipschitz")}
    config.check(merge(read(ROOT / "config.yaml"), {**tgv, "solver": needed}), SCHEMA)
    for change, key in (
        ({"network": {**tgv["network"], "steps": "learned"}}, "network.steps"),
        ({"training": {"gradient": "closed_form"}}, "training.gradient"),
        ({"network": {**tgv["network"], "maps": 1}}, "network.maps"),
    ):
        assert message({**tgv, **change}).startswith(f"{key}: ")
    for key, other in (("norm", "isotropic"), ("dual_start", "image"), ("lipschitz", "sqrt13")):
        text = message({**tgv, "solver": {key: other}})
        assert (
            text
            == f"solver.{key}: {other!r} does not go with network.penalty tgv; set it to {solver.OF_TV_ALONE[key]!r}"
        )


def test_missing_key_is_named():
    broken = read(ROOT / "config.yaml")
    del broken["training"]["epochs"]
    with pytest.raises(StudyError, match=r"^training\.epochs is missing"):
        config.check(broken, SCHEMA)


def test_misspelled_key_is_named_before_the_one_it_leaves_missing():
    broken = read(ROOT / "config.yaml")
    broken["training"]["epoch"] = broken["training"].pop("epochs")
    with pytest.raises(StudyError, match=r"^training\.epoch is not a known key"):
        config.check(broken, SCHEMA)


def test_existing_archive_and_folder_are_accepted(tmp_path):
    (tmp_path / "images.zip").touch()
    for data in (
        {"source": "archive", "archive": str(tmp_path / "images.zip")},
        {"source": "folder", "folder": str(tmp_path)},
    ):
        config.check(merge(read(ROOT / "config.yaml"), {"data": data}), SCHEMA)


def test_merge_is_that_of_snakemake():
    from snakemake.utils import update_config

    base = read(ROOT / "config.yaml")
    overlay = {
        "data": {"fold": {"number": 2, "of": 3}, "val_ids": ["a"]},
        "noise": {"protocols": {"low": 0.1}},
        "seed": 1,
    }
    expected = copy.deepcopy(base)
    update_config(expected, copy.deepcopy(overlay))
    before = copy.deepcopy(base)
    assert merge(base, overlay) == expected != before == base


def test_variants_are_whole_configurations_with_names_of_their_own():
    base = read(ROOT / "config.yaml")
    base["variants"] = {
        "short": {"training": {"epochs": 3}},
        "one-level": {"noise": {"protocols": {"uniform": None}}},
        "given": {"network": {"weights": "study"}, "baselines": ["nlm"]},
        "other": {"network": {"weights": "a.safetensors", "maps": 2, "penalty": "tgv"}},
    }
    base["baselines"] = ["wavelet"]
    found = variants(base)
    assert {name: settings["study"] for name, settings in found.items()} == {
        "short": "dissertation.short",
        "one-level": "dissertation.one-level",
        "given": "dissertation.given",
        "other": "dissertation.other",
    }
    assert found["given"]["network"]["weights"] == "results/dissertation/model/last.safetensors"
    assert [found[name]["baselines"] for name in ("short", "given")] == [[], ["nlm"]]
    assert found["short"]["training"] == base["training"] | {"epochs": 3}
    assert base["network"]["weights"] is None
    assert list(found["one-level"]["noise"]["protocols"]) == ["fixed0.5"]
    for settings in found.values():
        assert settings["variants"] == {}
        settings["data"] |= {"source": "sample"}
        config.check(settings, SCHEMA)


@pytest.mark.parametrize(
    ("overlay", "parts"),
    [
        ({"data": {"manifest": "none.csv"}}, ["data.manifest: there is no file 'none.csv'; give", "or null"]),
        (
            {"network": {"maps": 2}, "solver": {"norm": "isotropic"}},
            ["network.maps: solver.norm isotropic takes one map", "set network.maps to 1"],
        ),
        (
            {"training": {"gradient": "closed_form"}, "device": "auto"},
            ["training.gradient: closed_form is for solver.norm anisotropic and device cpu"],
        ),
        ({"data": {"fold": {"number": 6, "of": 5}}}, ["data.fold.number: 6 is above data.fold.of, 5"]),
        ({"data": {"fold": {"number": 1}}}, ["data.fold.of is missing"]),
        ({"data": {"fold": {"number": 0, "of": 5}}}, ["data.fold.number"]),
        ({"variants": {"a": {"study": "b"}}}, ["variants.a.study"]),
        ({"variants": {"a": {"grid": {"shards": 3}}}}, ["variants.a.grid.shards", "share its shards"]),
        (
            {"variants": {"a": {"network": {"weights": "b", "padding": 4, "start": "kaiming"}}}},
            ["variants.a.network.start", "the file"],
        ),
        (
            {"variants": {"a": {"network": {"weights": "study", "padding": 4}}}},
            ["variants.a.network.padding", "the file"],
        ),
        ({"variants": {"a": {"network": {"weights": "b"}, "training": {"epochs": 4}}}}, ["variants.a.training.epochs"]),
        (
            {"variants": {"a": {"network": {"weights": "study"}, "data": {"size": 64}}}},
            ["images that the study trained on"],
        ),
        ({"variants": {"a b": {}}}, ["variants", "a b"]),
        ({"variants": {"a": {"network": None}}}, ["variants.a.network", "no group of keys"]),
        ({"variants": {"a": {"network": 3}}}, ["variants.a.network", "no group of keys"]),
        ({"variants": {"a": {"grid": 3}}}, ["variants.a.grid", "no group of keys"]),
        (
            {"variants": {"a": {"network": {"weights": "study"}, "training": 3}}},
            ["variants.a.training", "no group of keys"],
        ),
        ({"variants": {"a": {"training": {"epoch": 3}}}}, ["variants.a: training.epoch is not a known key"]),
        ({"network": {"weights": ""}}, ["network.weights"]),
        ({"training": {"seed": -1}}, ["training.seed"]),
    ],
)
def test_folds_variants_and_weights_are_checked(overlay, parts):
    text = message(overlay)
    assert all(part in text for part in parts), text
