"""Check of a study's configuration: every mistake in one line that names the key."""

import difflib
import functools
import math
import os
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from .errors import StudyError
from .files import PathLike
from .study import OF_WEIGHTS, variants

Keys = tuple[Any, ...]  # from the top down to a value: names, and numbers of list entries

# JSON takes 5.0 for an integer, Python's range() does not.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)


def check(config: Mapping[str, Any], schema_path: PathLike) -> None:
    """Raise a StudyError that names the first key of `config` that does not fit.

    Args:
        config: the merged configuration, as nested dictionaries.
        schema_path: JSON schema (draft 2020-12) as YAML, whose descriptions become part of the messages.

    Raises:
        StudyError: an unknown or missing key, a value of the wrong type or out of range, NaN or infinity, or values
            that contradict each other.
    """
    _check_plain(config, ())
    schema = _read_schema(str(schema_path))
    errors = sorted(_Validator(schema).iter_errors(config), key=_rank)
    if errors:
        raise StudyError(_message(errors[0], schema))
    _check_together(config)
    for name, overlay in config["variants"].items():
        _check_variant(f"variants.{name}", overlay, config)
    for name, merged in variants(config).items():
        try:
            check(merged, schema_path)
        except StudyError as error:
            raise StudyError(f"variants.{name}: {error}") from None


@functools.cache
def _read_schema(path: str) -> dict[str, Any]:
    """Read once a process: a study checks each of its variants by it, and each variant itself."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def _check_variant(path: str, overlay: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Reject keys of a variant of the study `config` that would have no effect, or another than meant."""
    for key, value in overlay.items():
        if isinstance(config.get(key), dict) and not isinstance(value, dict):
            raise StudyError(f"{path}.{key}: {value!r} is no group of keys; write some below it, or leave {key} out")
    for key in ("study", "variants"):
        if key in overlay:
            raise StudyError(f"{path}.{key}: a variant has its name from its own key; leave {key} out")
    if "shards" in (overlay.get("grid") or {}):
        raise StudyError(f"{path}.grid.shards: the variants of a study share its shards; leave shards out")
    given = (overlay.get("network") or {}).get("weights")
    if given:
        useless = [f"training.{key}" for key in overlay.get("training") or {}]
        said = () if given == "study" else OF_WEIGHTS  # what a file is checked against
        useless += [f"network.{key}" for key in overlay["network"] if key not in ("weights", "weights_direct", *said)]
        if useless:
            raise StudyError(f"{path}.{useless[0]}: the file in network.weights decides it; leave {useless[0]} out")
    if given == "study" and {"data", "seed"} & set(overlay):
        why = "with data or seed of its own it would test images that the study trained on"
        raise StudyError(f"{path}: {why}; leave these out, or let it train")


def _check_plain(value: object, path: Keys) -> None:
    """Reject what a JSON schema lets pass: names that are no text, control characters, numbers that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        raise StudyError(f"{_dotted(path)}: {value} is not a finite number; give a finite one")
    if isinstance(value, str) and any(unicodedata.category(letter) == "Cc" for letter in value):
        raise StudyError(f"{_dotted(path)}: {value!r} has control characters, such as the end of a line; take them out")
    if isinstance(value, dict):
        for name, entry in value.items():
            if not isinstance(name, str):
                raise StudyError(f"{_dotted((*path, name))}: the key {name!r} is not text; put it in quotes")
            _check_plain(name, path)
            _check_plain(entry, (*path, name))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            _check_plain(entry, (*path, index))


def _rank(error: jsonschema.ValidationError) -> tuple[bool, list[str], str]:
    """A misspelled key comes first: it explains a key that is missing."""
    return error.validator != "additionalProperties", [str(part) for part in error.absolute_path], error.message


def _message(error: jsonschema.ValidationError, schema: Mapping[str, Any]) -> str:
    path = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        name = min(set(error.instance) - set(error.schema["properties"]))
        return f"{_dotted((*path, name))} is not a known key; {_suggestion((*path, name), schema)}"
    if error.validator == "required":
        name = next(name for name in error.validator_value if name not in error.instance)
        return f"{_dotted((*path, name))} is missing; copy it from config.yaml"
    description = schema["title"]
    for part in path:
        schema = _child(schema, part)
        description = schema.get("description", description)
    wrong = f"{error.instance!r} does not fit" if error.validator == "anyOf" else error.message
    return f"{_dotted(path)}: {wrong}; {description}"


def _child(schema: Mapping[str, Any], part: str | int) -> Mapping[str, Any]:
    """Schema of the key or list entry `part` below an object or list with `schema`."""
    if part in schema.get("properties", {}):
        return schema["properties"][part]
    child = schema.get("items" if isinstance(part, int) else "additionalProperties", {})
    return child if isinstance(child, dict) else {}


def _suggestion(path: Keys, schema: Mapping[str, Any]) -> str:
    """The known key that was probably meant: similar at the same place, or of the same name elsewhere."""
    known = list(_keys(schema, ()))
    siblings = {key[-1]: key for key in known if key[:-1] == path[:-1]}
    similar = difflib.get_close_matches(path[-1], siblings, n=1)
    meant = [siblings[name] for name in similar] or [key for key in known if key[-1] == path[-1]]
    if meant:
        return f"did you mean {_dotted(meant[0])}?"
    return f"known here: {', '.join(sorted(siblings))}"


def _keys(schema: Mapping[str, Any], path: Keys) -> Iterator[Keys]:
    for name, entry in schema.get("properties", {}).items():
        yield (*path, name)
        yield from _keys(entry, (*path, name))


def _dotted(path: Keys) -> str:
    return ".".join(str(part) for part in path)


def _check_together(config: Mapping[str, Any]) -> None:
    data, noise, training, grid = (config[name] for name in ("data", "noise", "training", "grid"))
    if config["network"]["penalty"] == "tgv":
        if config["network"]["maps"] != 2:
            raise StudyError("network.maps: network.penalty is tgv, which takes two maps; set network.maps to 2")
        if config["network"]["steps"] != "fixed":
            raise StudyError("network.steps: learned steps are of network.penalty tv; set network.steps to fixed")
        if training["gradient"] != "unrolled":
            raise StudyError("training.gradient: closed_form is of network.penalty tv; set it to unrolled")
    elif config["network"]["maps"] == 2 and config["solver"]["norm"] == "isotropic":
        raise StudyError("network.maps: solver.norm isotropic takes one map; set network.maps to 1, or the norm back")
    asked = "network.penalty tgv" if config["network"]["penalty"] == "tgv" else "the baseline tgv-oracle"
    if config["network"]["penalty"] == "tgv" or "tgv-oracle" in config["baselines"]:
        for key, needed in (("norm", "anisotropic"), ("dual_start", "zero"), ("lipschitz", 3)):
            if config["solver"][key] != needed:
                given = config["solver"][key]
                raise StudyError(f"solver.{key}: {given!r} does not go with {asked}; set it to {needed!r}")
    levels = {f"noise.protocols.{name}": level for name, level in noise["protocols"].items()}
    for key, level in {**levels, "noise.train_level": noise["train_level"]}.items():
        if isinstance(level, list) and level[0] > level[1]:
            raise StudyError(f"{key}: {level} is not ordered; write [low, high]")
    if grid["maximum"] <= grid["minimum"]:
        raise StudyError(f"grid.maximum: {grid['maximum']} is not above grid.minimum, {grid['minimum']}; raise it")
    if data["fold"] and data["fold"]["number"] > data["fold"]["of"]:
        number, of = (data["fold"][key] for key in ("number", "of"))
        raise StudyError(f"data.fold.number: {number} is above data.fold.of, {of}; lower it")
    if training["crop"] is not None and training["crop"] > data["size"]:
        raise StudyError(f"training.crop: {training['crop']} is larger than data.size, {data['size']}; lower it")
    if training["views"] > 1 and data["source"] == "sample":
        raise StudyError(f"training.views: {training['views']}, but photographs are cut into tiles; set it to 1")
    if training["gradient"] == "closed_form" and config["network"]["steps"] == "learned":
        raise StudyError("training.gradient: the solution does not depend on the steps; set network.steps to fixed")
    if training["gradient"] == "closed_form" and (
        config["solver"]["norm"] != "anisotropic" or config["device"] != "cpu"
    ):
        raise StudyError(
            "training.gradient: closed_form is for solver.norm anisotropic and device cpu; set it to unrolled, or these"
        )
    if training["validation_protocol"] not in noise["protocols"]:
        names = ", ".join(noise["protocols"])
        name = training["validation_protocol"]
        raise StudyError(f"training.validation_protocol: {name!r} is not in noise.protocols; use one of {names}")
    if data["manifest"] is not None and not os.path.isfile(data["manifest"]):
        raise StudyError(f"data.manifest: there is no file {data['manifest']!r}; give a study's manifest.csv, or null")
    for source, exists in {"archive": os.path.isfile, "folder": os.path.isdir}.items():
        if data["source"] == source:
            hint = f"give it with --config data='{{{source}: PATH}}' or in an overlay"
            if data[source] is None:
                raise StudyError(f"data.{source}: is not set, but data.source is {source}; {hint}")
            if not exists(data[source]):
                kind = "file" if source == "archive" else "folder"
                raise StudyError(f"data.{source}: there is no {kind} {data[source]!r}; {hint}")
