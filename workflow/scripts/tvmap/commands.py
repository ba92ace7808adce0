"""The command `tvmap`: denoise images with the trained network, or by plain TV."""

import argparse
import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import archives, map_files, pictures
from .errors import StudyError
from .logs import OneLine, log

if TYPE_CHECKING:
    from .denoising import Denoised

EXAMPLES = """examples:
  tvmap denoise noisy.png -o clean.png              the map that the network predicts
  tvmap denoise scans/ -o denoised/ --save-map      a folder of images, and their maps
  tvmap denoise noisy.tif -o out.tif --weight sure  one λ, chosen without the clean image
  tvmap tv noisy.png -o clean.png --weight 0.07     plain TV, one λ
  tvmap tv noisy.png -o out.png --weight map.tif    plain TV, a map from a file

Formats: PNG (8, 16 bit), JPEG, TIFF (8, 16 bit, floating point), DICOM, NumPy (.npy); also BMP, GIF, PPM and WebP.
Any size, grey or colour, channel by channel; transparency and the ICC profile are kept. What is written has the depth
that was read: JPEG and the like become PNG, TIFF stays TIFF, DICOM becomes TIFF in floating point, 0 to 1 over its
window. λ and Λ are in units of the image's range: 255 or 65535 count as 1. Not for diagnosis.
The exit status is 1 if an image failed, which does not stop the others, or has not the --gap that was asked for.
"""


OF_NETWORK = """Denoise images by second-order TGV with the two maps that the trained network predicts for each of them,
or by what the weights of --model are made for; with --weight sure or a number λ, by TV,
min over x of ½‖x − z‖² + λ‖∇x‖₁."""
OF_GAP = """iterate to this relative primal-dual gap: 1e-3, which the study asks for, is good, 1e-5 nearly exact, and
above 0.1 the result may be far from the solution, which is said. Where it cannot be reached, the best result is written
all the same, with a warning, and the exit status is 1"""
OF_DEVICE = "where it is computed: auto, the default, takes an NVIDIA GPU (cuda) where there is one, else the CPU"
OF_TV = """Denoise images by TV, min over x of ½‖x − z‖² + ‖Λ∘∇x‖₁, with a number λ or a map Λ from a file,
or by second-order TGV with two of them."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    whole = argparse.ArgumentParser(
        prog="tvmap",
        description=__doc__.splitlines()[0],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(dest="command", required=True)
    denoise = commands.add_parser("denoise", help="with the map of the trained network", description=OF_NETWORK)
    denoise.add_argument("--weight", default="map", help="map (of the network), sure, or a number λ; default: map")
    denoise.add_argument("--model", help="weights of another network, a .safetensors file that a study made")
    plain = commands.add_parser("tv", help="by plain TV with a λ or a map", description=OF_TV)
    plain.add_argument("--weight", required=True, help="a number λ, or a file with a map, .tif or .npy")
    plain.add_argument("--norm", choices=["anisotropic", "isotropic"], help="default: the file's, or anisotropic")
    plain.add_argument(
        "--penalty", choices=["tv", "tgv"], help="tv, or what the file says; tgv takes two weights, λ₁,λ₀"
    )
    for command in (denoise, plain):
        # argparse takes -1e3 for an option: it looks for digits and a point alone.
        command._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$|-inf$", re.IGNORECASE)
        command.add_argument("input", nargs="+", type=Path, help="image files, or folders of them")
        command.add_argument(
            "-o", "--output", type=Path, required=True, help="an image file for one input, or a folder"
        )
        boundary = (
            "default: that of the network's training, or periodic"
            if command is denoise
            else "default: the file's, or periodic"
        )
        command.add_argument("--boundary", choices=["periodic", "neumann"], help=boundary)
        precision = command.add_mutually_exclusive_group()
        precision.add_argument("--iterations", type=int, default=256, help="steps of PDHG; default: 256")
        precision.add_argument("--gap", type=float, help=OF_GAP)
        command.add_argument(
            "--range", nargs=2, type=float, metavar=("LOW", "HIGH"), help="values that count as 0 and 1"
        )
        command.add_argument(
            "--float", action="store_true", help="write TIFF in floating point: 0 to 1 for 8 or 16 bits"
        )
        command.add_argument("--save-map", action="store_true", help="write Λ or λ too, as NAME_map.tif")
        command.add_argument("--sheet", action="store_true", help="draw a page on each image too, as NAME_sheet.png")
        command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help=OF_DEVICE)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, or 1 if an image failed or has not the --gap that was asked for.

    A line on stderr says which.
    """
    options = parser().parse_args(arguments)
    handler = AroundTheBar(sys.stderr)
    handler.setFormatter(OneLine("tvmap: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        return denoise_all(options)
    except StudyError as error:
        log.error("%s", error)
        return 1
    except OSError as error:
        log.error("%s; give another path", error)
        return 1
    except KeyboardInterrupt as interruption:
        log.error("interrupted; %s", str(interruption) or "nothing is written")
        return 130
    finally:
        log.removeHandler(handler)


class AroundTheBar(logging.StreamHandler):
    """Lines of the log above the progress bar, which is drawn again below them."""

    def emit(self, record: logging.LogRecord) -> None:  # noqa: D102 (of logging)
        from tqdm import tqdm

        with tqdm.external_write_mode(file=sys.stderr):
            super().emit(record)


def denoise_all(options: argparse.Namespace) -> int:
    """Denoise images: by TV, min over x of ½‖x − z‖² + ‖Λ∘∇x‖₁, or by second-order TGV, as the weights are made for."""
    from tqdm import tqdm

    if options.iterations < 1:
        raise StudyError(f"--iterations {options.iterations}: at least 1 is needed")
    if options.gap is not None and not 0 < options.gap < float("inf"):
        raise StudyError(f"--gap {options.gap:g}: a number > 0 is needed, such as 1e-4")
    kinds = [kind for kind, asked in (("map", options.save_map), ("sheet", options.sheet)) if asked]
    read = [Path(name) for name in (options.weight, vars(options).get("model")) if name]
    pairs = destinations(options.input, options.output, options.float, kinds, read)
    method, levels = chosen_method(options)
    done = failed = short = 0
    with tqdm(pairs, unit="image", disable=len(pairs) == 1 or not sys.stderr.isatty(), file=sys.stderr) as progress:
        for source, destination in progress:
            try:
                short += not denoise_one(source, destination, method, levels, options)
                done += 1
            except StudyError as error:
                failed += 1
                log.error("%s", error)
            except OSError as error:
                failed += 1
                log.error("%s: its result cannot be written (%s); make room, or give another -o", source, error)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"{done} of {len(pairs)} images are written") from None
    if len(pairs) > 1:
        log.info("%d of %d images denoised", done, len(pairs))
    return 1 if failed or short else 0


def destinations(
    inputs: Sequence[Path],
    output: Path,
    as_float: bool = False,
    kinds: Sequence[str] = (),
    read: Sequence[Path] = (),
) -> list[tuple[Path, Path]]:
    """[(image file, file to write)] of files and folders; folders keep their structure below `output`.

    kinds: what is written `beside` each image; read: what is read beside the images, such as a map. Nothing that is
    written may replace an input or another image's files.
    """
    found, results = [], _real(output)
    for path in inputs:
        if path.is_dir():
            files = archives.images_below(path, {*pictures.SUFFIXES, ""})
            if _real(path) in results.parents:  # those of an earlier run, in a folder of their own
                files = [p for p in files if not _real(p).is_relative_to(results)]
            images = [p for p in files if p.suffix]
            if len(images) < len(files):
                left = "%s: files without a suffix are left out, %d of them; rename images, such as DICOM to .dcm"
                log.warning(left, path, len(files) - len(images))
            if not images:
                raise StudyError(f"{path}: no image in this folder; known are {', '.join(sorted(pictures.SUFFIXES))}")
            found += zip(images, names_below(path, images, as_float, kinds), strict=True)
        else:
            found.append((path, Path(path.name).with_suffix(_suffix(path, as_float))))
    if output.suffix.lower() in pictures.SUFFIXES and not output.is_dir():
        if len(found) > 1 or inputs[0].is_dir():
            raise StudyError(f"-o {output}: one file for {len(found)} images; give a folder")
        if output.suffix.lower() not in {".png", ".tif", ".tiff", ".npy"}:
            raise StudyError(f"-o {output}: written are .png, .tif and .npy, without loss; choose one of them")
        pairs = [(found[0][0], output)]
    else:
        if output.suffix and not output.exists() and len(found) == 1 and not inputs[0].is_dir():
            raise StudyError(
                f"-o {output}: written are .png, .tif and .npy; choose one of them, or a folder, which has to be there "
                "if its name has a dot"
            )
        if output.exists() and not output.is_dir():
            raise StudyError(
                f"-o {output}: is a file that is no image; give a folder, or a name with .png, .tif or .npy"
            )
        pairs = [(image, output / name) for image, name in found]
    for folder in output.parents:
        if folder.exists() and not folder.is_dir():
            raise StudyError(f"-o {output}: {folder} is a file; give a folder that is none")
    sources, targets = {_real(path) for path in (*(image for image, _ in pairs), *read)}, {}
    for image, target in pairs:
        for file in (target, *(beside(target, kind) for kind in kinds)):
            real = _real(file)
            if real in sources:
                raise StudyError(f"{file}: is an input; results must not replace it, give another -o")
            if real in targets:
                raise StudyError(f"{file}: would be written for {targets[real]} and {image}; give them apart")
            targets[real] = image
    return pairs


def names_below(folder: Path, images: Sequence[Path], as_float: bool, kinds: Sequence[str]) -> list[Path]:
    """What is written for the images of a folder, relative to it: their names with the suffix that is written.

    Those that differ in the suffix alone and would be written to the same file, or `beside` it, keep their whole names
    where that tells them apart, IMG.png and IMG.jpg.png, which is said; otherwise each with a second suffix.
    """
    names = [image.relative_to(folder) for image in images]
    suffixes = [_suffix(image, as_float) for image in images]
    plain = [name.with_suffix(suffix) for name, suffix in zip(names, suffixes, strict=True)]
    twice = [name.with_name(name.name + suffix) for name, suffix in zip(names, suffixes, strict=True)]
    whole = [name if name.suffix == suffix else two for name, suffix, two in zip(names, suffixes, twice, strict=True)]
    alike: dict[Path, list[int]] = {}
    for at, name in enumerate(names):
        alike.setdefault(name.with_suffix(""), []).append(at)
    found, renamed = [*plain], []
    for members in alike.values():
        for targets in (plain, whole, twice):
            files = [file for at in members for file in (targets[at], *(beside(targets[at], kind) for kind in kinds))]
            if len({*files}) == len(files):
                break
        for at in members:
            found[at] = targets[at]
            renamed += [at] if found[at] != plain[at] else []
    if renamed:
        said = "%s: images that differ in their suffix alone keep it: %s is written as %s, one of %d"
        log.info(said, folder, names[renamed[0]], found[renamed[0]], len(renamed))
    return found


def _suffix(image: Path, as_float: bool) -> str:
    """That of the file which is written for an image."""
    return ".tif" if as_float else pictures.WRITTEN.get(image.suffix.lower(), image.suffix)


def _real(path: Path) -> Path:
    """The file or folder that a path leads to; a link that leads to itself is left as it is."""
    return Path(os.path.realpath(path))


def beside(target: Path, kind: str) -> Path:
    """The name of what is written beside an image: its map or its sheet."""
    return target.with_name(f"{target.stem}_{kind}.{'tif' if kind == 'map' else 'png'}")


def chosen_method(
    options: argparse.Namespace,
) -> tuple[Callable[[np.ndarray], "Denoised"], tuple[float, float] | None]:
    """A function of channels (C, H, W) that gives `Denoised`, as the arguments ask for it, and the levels it is for.

    The levels are (low, high), or None where there is no such range. Weights are read once.
    """
    from . import denoising, devices, parameter_choice

    device = devices.pick(options.device)
    fixed = {"iterations": options.iterations, "gap": options.gap, "device": device}
    fixed |= {"boundary": options.boundary or "periodic"}
    if options.command == "denoise":
        if options.model and options.weight != "map":
            raise StudyError(f"--model: belongs to --weight map, not {options.weight}; leave one of them out")
        if options.weight == "sure":
            most = parameter_choice.SCANNED + parameter_choice.REFINED
            log.info("--weight sure: up to %d exact solutions a channel; large images take minutes", most)
            if device.type != "cpu":
                log.info("--weight sure: λ is sought on the CPU, the image then denoised on %s", device)
            return (lambda channels: denoising.by_sure(channels, **fixed)), None
        if options.weight == "map":
            trained, levels, solver = denoising.load_trained(options.model)
            own = {**fixed, **solver} | ({"boundary": options.boundary} if options.boundary else {})
            return (lambda channels: denoising.by_network(channels, trained, **own)), levels
        maps, penalty, norm = None, "tv", "anisotropic"
    else:
        if options.weight in ("map", "sure"):
            raise StudyError(
                f"--weight {options.weight}: is for tvmap denoise; tvmap tv takes a number or a file of maps"
            )
        maps, said = (None, {}) if _numbers(options.weight) else map_files.read_weight(options.weight)
        penalty = options.penalty or said.get("penalty", "tv")
        norm = options.norm or said.get("norm", "anisotropic")
        if penalty != said.get("penalty", penalty):
            raise StudyError(
                f"--penalty {penalty}: {options.weight} holds maps of {said['penalty']}; leave --penalty out, "
                "or give other maps"
            )
        fixed |= said | ({"boundary": options.boundary} if options.boundary else {})
        if penalty == "tgv" and norm != "anisotropic":
            raise StudyError("--norm isotropic: belongs to --penalty tv; leave --norm out")
    fixed |= {"penalty": penalty} | ({"norm": norm} if penalty == "tv" else {})
    if maps is not None:
        arranged = functools.partial(arrange, maps, penalty, norm, options.weight)
        return (lambda channels: denoising.by_weight(channels, arranged(len(channels)), **fixed)), None
    numbers = _numbers(options.weight)
    if not numbers:
        raise StudyError(f"--weight {options.weight}: map, sure or a number λ ≥ 0; a map from a file is for tvmap tv")
    n_weights = 2 if penalty == "tgv" else 1
    if len(numbers) != n_weights or not all(0 <= number < pictures.LARGEST for number in numbers):
        wanted = "one number ≥ 0 is needed, such as 0.07" if n_weights == 1 else "two numbers ≥ 0, such as 0.1,0.05"
        raise StudyError(f"--weight {options.weight}: {wanted}")
    weight = np.reshape(numbers, (1, 2, 1, 1) if n_weights == 2 else (1,))
    return (lambda channels: denoising.by_weight(channels, weight, **fixed)), None


def _numbers(text: str) -> list[float]:
    """[numbers] of a text such as 0.1 or 0.1,0.2, [] if it is another text."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return []


def arrange(maps: np.ndarray, penalty: str, norm: str, name: str, n_channels: int) -> np.ndarray:
    """Maps (n, H, W) of a file as (1 or C, maps, H, W) for an image of C channels."""
    n = len(maps)
    each = [2] if penalty == "tgv" else [1] if norm == "isotropic" else [1, 2]
    for n_maps in each:
        if n in (n_maps, n_maps * n_channels):
            return maps.reshape(-1, n_maps, *maps.shape[-2:])
    wanted = sorted({m * c for m in each for c in (1, n_channels)})
    raise StudyError(f"{name}: {n} maps; {penalty.upper()} of this image takes {' or '.join(map(str, wanted))}")


def denoise_one(
    source: Path,
    destination: Path,
    method: Callable[[np.ndarray], "Denoised"],
    levels: tuple[float, float] | None,
    options: argparse.Namespace,
) -> bool:
    """Read, denoise and write one image, with its map and sheet if asked for; returns whether --gap is reached."""
    from . import denoising

    picture = pictures.read(source, options.range and tuple(options.range))
    if picture.assumed:
        log.info("%s: its values, %g to %g, count as 0 to 1; --range says otherwise", source, *picture.assumed)
    if not options.range and (unused := pictures.unused_bits(picture)):
        log.warning("%s: %s", source, unused)
    if options.float:
        picture = picture.as_float()
    pictures.check_format(destination, picture.dtype, len(picture.channels) > 1)  # before the work, not after it
    try:
        found = method(picture.channels)
        outside = denoising.outside_training(denoising.noise_levels(picture.channels), levels) if levels else []
    except StudyError as error:
        raise StudyError(str(error) if str(source) in str(error) else f"{source}: {error}") from None
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        where = "memory" if options.device == "cpu" else "memory here (--device cpu: that of the computer)"
        raise StudyError(f"{source}: not enough {where}; cut the image into pieces") from None
    unsolved = denoising.uncertified(picture.channels, found, options.gap)
    for warning in filter(None, (*outside, found.flat, unsolved)):
        log.warning("%s: %s", source, warning)
    destination.parent.mkdir(parents=True, exist_ok=True)
    pictures.write(destination, picture, found.x)
    if options.save_map:
        maps = found.weight.reshape(-1, *(found.weight.shape[-2:] if found.weight.ndim == 4 else (1, 1)))
        solver = {name: value for name, value in found.options.items() if name != "device"}
        map_files.write_maps(beside(destination, "map"), maps, **solver)
    if options.sheet:
        from . import sheet

        sheet.save(beside(destination, "sheet"), source.name, picture, found)
    gap = found.gap.max()
    weights = denoising.numbers_in_words(found)
    certificate = f"{found.iterations} steps, relative gap {gap:.1e}" + (f", {weights}" if weights else "")
    log.info("%s: %s → %s", source, certificate, destination)
    return denoising.reaches(picture.channels, found, options.gap)
