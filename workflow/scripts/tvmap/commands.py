"""The command `tvmap`: denoise images with the trained network, or by plain TV."""

import argparse
import contextlib
import logging
import sys
from pathlib import Path

import numpy as np

from . import pictures
from .errors import StudyError
from .logs import OneLine, log

EXAMPLES = """examples:
  tvmap denoise noisy.png -o clean.png              the map that the network predicts
  tvmap denoise scans/ -o denoised/ --save-map      a folder of images, and their maps
  tvmap denoise noisy.tif -o out.tif --weight sure  one λ, chosen without the clean image
  tvmap tv noisy.png -o clean.png --weight 0.07     plain TV, one λ
  tvmap tv noisy.png -o out.png --weight map.tif    plain TV, a map from a file

Formats: PNG, JPEG, TIFF (8, 16 bit, floating point), DICOM, NumPy (.npy); also BMP, GIF, PPM and WebP. Any size,
grey or colour, channel by channel; transparency is kept. What is written has the depth that was read: JPEG and the
like become PNG, TIFF stays TIFF, DICOM becomes TIFF in floating point, 0 to 1 over its window. λ and Λ are in units
of the image's range: 255 or 65535 count as 1. Not for diagnosis.
"""


def parser():
    """The command's arguments."""
    whole = argparse.ArgumentParser(
        prog="tvmap",
        description=__doc__.splitlines()[0],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="denoise | tv")
    denoise = commands.add_parser(
        "denoise", help="with the map of the trained network", description=denoise_all.__doc__
    )
    denoise.add_argument("--weight", default="map", help="map (of the network), sure, or a number λ; default: map")
    denoise.add_argument("--model", help="weights of another network, a .safetensors file that a study made")
    plain = commands.add_parser("tv", help="by plain TV with a λ or a map", description=denoise_all.__doc__)
    plain.add_argument("--weight", required=True, help="a number λ, or a file with a map, .tif or .npy")
    plain.add_argument("--norm", choices=["anisotropic", "isotropic"], default="anisotropic")
    plain.add_argument(
        "--penalty", choices=["tv", "tgv"], default="tv", help="tgv: with two weights, λ₁,λ₀, or two maps in the file"
    )
    for command in (denoise, plain):
        command.add_argument("input", nargs="+", type=Path, help="image files, or folders of them")
        command.add_argument(
            "-o", "--output", type=Path, required=True, help="an image file for one input, or a folder"
        )
        command.add_argument("--boundary", choices=["periodic", "neumann"], default="periodic")
        precision = command.add_mutually_exclusive_group()
        precision.add_argument("--iterations", type=int, default=256, help="steps of PDHG; default: 256")
        precision.add_argument("--gap", type=float, help="iterate to this relative primal-dual gap, such as 1e-4")
        command.add_argument(
            "--range", nargs=2, type=float, metavar=("LOW", "HIGH"), help="values that count as 0 and 1"
        )
        command.add_argument("--float", action="store_true", help="write TIFF in floating point, whatever was read")
        command.add_argument("--save-map", action="store_true", help="write Λ or λ too, as NAME_map.tif")
        command.add_argument("--sheet", action="store_true", help="draw a page on each image too, as NAME_sheet.png")
        command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    return whole


def main(arguments=None):
    """Run the command; returns the exit status: 0, or 1 if an image failed, which one line on stderr says."""
    options = parser().parse_args(arguments)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("tvmap: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        return denoise_all(options)
    except StudyError as error:
        log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        log.error("interrupted; the images that were finished are written")
        return 130
    finally:
        log.removeHandler(handler)


def denoise_all(options):
    """Denoise images: min over x of ½‖x − z‖² + ‖Λ∘∇x‖₁."""
    from tqdm import tqdm

    if options.iterations < 1:
        raise StudyError(f"--iterations {options.iterations}: at least 1 is needed")
    pairs = destinations(options.input, options.output, options.float)
    method = chosen_method(options)
    failed = 0
    with tqdm(pairs, unit="image", disable=len(pairs) == 1 or not sys.stderr.isatty(), file=sys.stderr) as progress:
        for source, destination in progress:
            try:
                denoise_one(source, destination, method, options)
            except StudyError as error:
                failed += 1
                with tqdm.external_write_mode(file=sys.stderr):
                    log.error("%s", error)
    if len(pairs) > 1:
        log.info("%d of %d images denoised", len(pairs) - failed, len(pairs))
    return 1 if failed else 0


def destinations(inputs, output, as_float=False):
    """[(image file, file to write)] of files and folders; folders keep their structure below `output`."""
    found = []
    for path in inputs:
        if path.is_dir():
            images = sorted(p for p in path.rglob("*") if p.suffix.lower() in pictures.SUFFIXES and p.is_file())
            if not images:
                raise StudyError(f"{path}: no image in this folder; known are {', '.join(sorted(pictures.SUFFIXES))}")
            found += [(image, image.relative_to(path)) for image in images]
        else:
            found.append((path, Path(path.name)))
    if output.suffix.lower() in pictures.SUFFIXES and not output.is_dir():
        if len(found) > 1 or inputs[0].is_dir():
            raise StudyError(f"-o {output}: one file for {len(found)} images; give a folder")
        if output.suffix.lower() not in {".png", ".tif", ".tiff", ".npy"}:
            raise StudyError(f"-o {output}: written are .png, .tif and .npy, without loss; choose one of them")
        pairs = [(found[0][0], output)]
    else:
        if output.exists() and not output.is_dir():
            raise StudyError(
                f"-o {output}: is a file that is no image; give a folder, or a name with .png, .tif or .npy"
            )
        pairs = []
        for image, name in found:
            suffix = ".tif" if as_float else pictures.WRITTEN.get(image.suffix.lower(), image.suffix)
            pairs.append((image, output / name.with_suffix(suffix)))
    sources, targets = {image.resolve() for image, _ in pairs}, {}
    for image, target in pairs:
        if target.resolve() in sources:
            raise StudyError(f"{target}: is an input; results must not replace it, give another -o")
        if target.resolve() in targets:
            raise StudyError(f"{target}: would be written for {targets[target.resolve()]} and {image}; give them apart")
        targets[target.resolve()] = image
    return pairs


def chosen_method(options):
    """A function of channels (C, H, W) that gives `Denoised`, as the arguments ask for it; weights are read once."""
    from . import denoising, devices

    device = devices.pick(options.device)
    fixed = {"iterations": options.iterations, "gap": options.gap, "boundary": options.boundary, "device": device}
    if options.command == "denoise" and options.model and options.weight != "map":
        raise StudyError("--model: belongs to --weight map")
    if options.command == "denoise" and options.weight == "sure":
        return lambda channels: denoising.by_sure(channels, **fixed)
    if options.command == "denoise" and options.weight == "map":
        trained, levels, path = denoising.load_reference(options.model)

        def by_map(channels):
            found = denoising.by_network(channels, trained, **fixed)
            warning = levels and denoising.outside_training(found.level, levels)
            if warning:
                log.warning("%s", warning)
            return found

        return by_map
    if options.command == "tv":
        fixed |= {"penalty": options.penalty} | ({"norm": options.norm} if options.penalty == "tv" else {})
        if options.penalty == "tgv" and options.norm != "anisotropic":
            raise StudyError("--norm isotropic: belongs to --penalty tv")
    with contextlib.suppress(ValueError):
        numbers = [float(part) for part in options.weight.split(",")]
        n_weights = 2 if getattr(options, "penalty", "tv") == "tgv" else 1
        if len(numbers) != n_weights or not all(0 <= number < float("inf") for number in numbers):
            raise StudyError(f"--weight {options.weight}: {n_weights} number(s) ≥ 0 are needed")
        shape = (1, 2, 1, 1) if n_weights == 2 else (1,)
        return lambda channels: denoising.by_weight(channels, np.reshape(numbers, shape), **fixed)
    if options.command == "denoise":
        raise StudyError(f"--weight {options.weight}: map, sure or a number λ ≥ 0; a map from a file is for tvmap tv")
    weight = pictures.read_weight(options.weight)
    return lambda channels: denoising.by_weight(channels, weight, **fixed)


def denoise_one(source, destination, method, options):
    """Read, denoise and write one image, with its map and sheet if asked for."""
    picture = pictures.read(source, options.range and tuple(options.range))
    if picture.assumed:
        low, high = picture.low, picture.high
        log.info("%s: its values, %g to %g, count as 0 to 1; --range says otherwise", source, low, high)
    found = method(picture.channels)
    destination.parent.mkdir(parents=True, exist_ok=True)
    if options.float:
        values = found.x[0] if len(found.x) == 1 else found.x.transpose(1, 2, 0)
        pictures.write_values(destination, values)
    else:
        pictures.write(destination, picture, found.x)
    if options.save_map:
        pictures.write_values(destination.with_name(f"{destination.stem}_map.tif"), as_pages(found.weight))
    if options.sheet:
        from . import sheet

        solver = {"boundary": options.boundary} | ({"norm": options.norm} if getattr(options, "norm", None) else {})
        sheet.save(destination.with_name(f"{destination.stem}_sheet.png"), source.name, picture, found, solver)
    gap = found.gap.max()
    log.info("%s: %d steps, relative gap %.1e → %s", source, found.iterations, gap, destination)


def as_pages(weight):
    """A weight (C,) or (C, maps, H, W) as pages of a TIFF, (H, W) or (H, W, pages), or 1 × 1 for a number."""
    maps = weight.reshape(-1, *weight.shape[-2:]) if weight.ndim == 4 else weight.reshape(-1, 1, 1)
    return maps[0] if len(maps) == 1 else maps.transpose(1, 2, 0)
