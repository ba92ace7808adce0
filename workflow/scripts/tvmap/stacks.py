"""Stacks of arrays in one .npz file: images, weights, anything that goes by image id."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .errors import StudyError
from .files import PathLike, write_atomically

Stack = Mapping[str, np.ndarray]


def save(path: PathLike, **arrays: ArrayLike) -> None:
    """Write named arrays to `path`, atomically and with the same bytes for the same arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def load_examples(path: PathLike) -> Stack:
    """Return the arrays of an examples file (ids, kinds, map_names, clean, noisy, scalar, map, maps) as a dict.

    All but the first three are images (3, H, W), the regularisation maps (3, number of names, H, W).

    Raises:
        StudyError: no such file, an array is missing, or a value is not finite.
    """
    names = ("ids", "kinds", "map_names", "clean", "noisy", "scalar", "map", "maps")
    if not Path(path).is_file():
        raise StudyError(f"{path}: no such file; it holds the pixels of the example images and is made by the study")
    arrays = load(path)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise StudyError(f"{path}: array {', '.join(missing)} is missing; delete the file and run the study again")
    for name in names[3:]:
        if not np.isfinite(arrays[name]).all():
            raise StudyError(f"{path}: array {name} holds values that are not finite; denoise the images again")
    return arrays


def training_images(path: PathLike) -> np.ndarray:
    """The clean training images of `path`, float32 (n, H, W), or with their other views (n, v, H, W)."""
    stack = load(path)
    return np.concatenate([stack["images"][:, None], stack["views"]], 1) if "views" in stack else stack["images"]


def penalty(stack: Stack) -> str:
    """The penalty that a stack's weights are for, tv or tgv; tv where it does not say."""
    return str(stack.get("penalty", "tv"))


def solver_options(stack: Stack) -> dict[str, Any]:
    """The options of the solver that a stack of weights asks for; scalars ask for none: TV, and the fixed steps."""
    return {"penalty": penalty(stack), "log_ratio": float(stack.get("log_ratio", 0))}


def gradient_weight(stack: Stack) -> np.ndarray:
    """The weight of ∇x in a stack of weights: λ (n,), Λ (n, 1 or 2, H, W), or of TGV's two maps Λ₁ (n, 1, H, W)."""
    return next(iter(maps(stack).values()))


def maps(stack: Stack) -> dict[str, np.ndarray]:
    """{name: weights (n, 1 or 2, H, W)} of a stack of maps: Λ, of one direction or of both, or TGV's Λ₁ and Λ₀."""
    if penalty(stack) == "tgv":
        return {"Λ₁": stack["weight"][:, :1], "Λ₀": stack["weight"][:, 1:]}
    return {"Λ": stack["weight"]}


def single_maps(stack: Stack) -> dict[str, np.ndarray]:
    """{name: map (n, H, W)} of a stack of maps, one for each channel: two directions are told apart as in ∇."""
    named, n_maps = maps(stack), stack["weight"].shape[1]
    names = ("Λ of vertical differences", "Λ of horizontal differences") if len(named) < n_maps else named
    return {name: stack["weight"][:, channel] for channel, name in enumerate(names)}


def load(path: PathLike) -> dict[str, np.ndarray]:
    """Read all arrays of `path` as a dict; a damaged file is a `StudyError`, and so are images that are not finite."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
            if not all(isinstance(array, np.ndarray) for array in arrays.values()):
                raise ValueError("it holds something else than arrays")
    except Exception as error:  # damaged files raise BadZipFile, ValueError, zlib.error, struct.error, ...
        raise StudyError(f"{path}: not a readable array file ({error}); delete it and run again") from error
    for name in ("images", "weight"):
        if bad := arrays[name].size - np.isfinite(arrays[name]).sum() if name in arrays else 0:
            raise StudyError(f"{path}: {bad} values are NaN or infinite; check the image and the noise settings")
    return arrays


def check_images(path: PathLike, stack: Stack, expected_path: PathLike, expected: Stack) -> None:
    """Raise a `StudyError` unless `stack`, of `path`, has the images of `expected` in the same order."""
    if not np.array_equal(stack["ids"], expected["ids"]):
        raise StudyError(f"{path}: its images are not those of {expected_path}; delete it and run again")
