"""The explorer: one page on which λ is moved over its grid and compared with the map, image by image; no network."""

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from markupsafe import Markup
from PIL import Image

from .errors import StudyError
from .files import PathLike
from .plotting import COLOUR_RANGE

LIMIT = 9_500_000  # bytes of the whole page
QUALITIES = (90, 75, 60, 45, 30)  # of the images by λ, the best that the limit allows
SMALLEST = 1e-5  # grey value; a smaller Λ is only said to be smaller
CHOSEN = {  # columns of scalar_choice.csv and how the page calls and colours them
    "weight_fixed": ("fixed", "fixed on validation"),
    "weight_psnr": ("psnr", "best PSNR (oracle)"),
    "weight_ssim": ("ssim", "best SSIM (oracle)"),
}
COLOURS = (np.array(matplotlib.colormaps["viridis"].colors) * 255).round().astype(int).tolist()  # type: ignore[attr-defined]

Case = Mapping[str, Any]  # an image with its scores and solutions, see `render`


def picture(image: np.ndarray, quality: int | None = None) -> str:
    """Data URI of an image (H, W) of range 1 with 8 bits: WebP, without loss or of this quality."""
    values = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(values).save(content, "WEBP", lossless=quality is None, quality=quality or 100)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()


def coded_map(name: str, weight: np.ndarray) -> dict[str, Any]:
    """Λ (H, W) as 16-bit numbers on a logarithmic scale, row by row, and the range of its colours.

    Steps of log(high/low)/65535: of six decades 0.02 %.
    """
    weight = np.maximum(np.asarray(weight, np.float64), SMALLEST)
    low, high = float(weight.min()), max(float(weight.max()), float(weight.min()) * (1 + 1e-6))
    codes = np.rint(65535 * np.log(weight / low) / np.log(high / low)).astype("<u2")
    ends = [float(end) for end in np.quantile(weight, COLOUR_RANGE)]
    return {
        "name": name,
        "low": low,
        "high": high,
        "shown": ends if ends[1] > ends[0] else [low, high],
        "codes": base64.b64encode(codes.tobytes()).decode(),
    }


def render(study: str, penalty: str, cases: Sequence[Case], folder: PathLike) -> str:
    """The page as text, at most LIMIT bytes: with all images, else one of each protocol, else these made smaller.

    Args:
        study: its name.
        penalty: of the maps, tv or tgv; each λ is one of tv.
        cases: dicts of protocol, level and label (texts), weights, psnr, ssim (k,) of the grid, map_psnr, map_ssim and
            noisy_psnr (numbers), chosen ([{key, name, weight}]), clean, noisy, map (H, W), maps ({name: (H, W)}) and
            scalar (k, H, W), the image by each λ.
        folder: where explorer.html.j2, .css, .js and palette.css are.
    """
    folder = Path(folder)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True)
    template = environment.from_string((folder / "explorer.html.j2").read_text(encoding="utf-8"))
    names = ("palette.css", "explorer.css", "explorer.js")
    palette, style, script = (Markup((folder / name).read_text(encoding="utf-8")) for name in names)
    for chosen, quality, note in _attempts(cases):
        coded = {
            "size": len(chosen[0]["clean"]),
            "colours": COLOURS,
            "penalty": penalty,
            "smallest": SMALLEST,
            "cases": [_coded(case, quality) for case in chosen],
        }
        data = json.dumps(coded, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
        page = template.render(
            study=study, penalty=penalty, style=palette + style, script=script, data=Markup(data), note=note
        )
        if len(page.encode()) <= LIMIT:
            return page
    raise StudyError(
        f"explorer: {len(cases)} images with {len(cases[0]['weights'])} λ each do not fit into {LIMIT} bytes; "
        "lower grid.values"
    )


def _attempts(cases: Sequence[Case]) -> Iterator[tuple[Sequence[Case], int, str]]:
    """(cases, quality of their images, what the reader is told): from the best to the smallest page."""
    for quality in QUALITIES:
        yield cases, quality, ""
    first = list({case["protocol"]: case for case in reversed(cases)}.values())[::-1]
    note = "To keep this page small, one image of each noise protocol is shown"
    for quality in QUALITIES:
        yield first, quality, f"{note}."
    factor = 2
    while len(first[0]["clean"]) >= 16 * factor:
        smaller = [{**case, **_reduced(case, factor)} for case in first]
        yield smaller, QUALITIES[-1], f"{note}, with a pixel for {factor} × {factor}."
        factor *= 2


def _reduced(case: Case, factor: int) -> dict[str, Any]:
    """The images of a case, each pixel the mean of factor × factor."""

    def mean(images: np.ndarray) -> np.ndarray:
        side = images.shape[-1] // factor
        blocks = images[..., : side * factor, : side * factor].reshape(*images.shape[:-2], side, factor, side, factor)
        return blocks.mean(axis=(-3, -1))

    images = {name: mean(case[name]) for name in ("clean", "noisy", "map", "scalar")}
    return images | {"maps": {name: mean(weight) for name, weight in case["maps"].items()}}


def _coded(case: Case, quality: int) -> dict[str, Any]:
    coded = {name: case[name] for name in ("protocol", "level", "label", "chosen")}
    digits = {"weights": 6, "psnr": 4, "ssim": 4}
    coded |= {name: np.round(case[name], count).tolist() for name, count in digits.items()}
    coded |= {name: round(float(case[name]), 4) for name in ("map_psnr", "map_ssim", "noisy_psnr")}
    coded |= {"clean": picture(case["clean"]), "map": picture(case["map"]), "noisy": picture(case["noisy"], 90)}
    coded["scalar"] = [picture(image, quality) for image in case["scalar"]]
    coded["maps"] = [coded_map(name, weight) for name, weight in case["maps"].items()]
    return coded
