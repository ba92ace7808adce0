"""Batches of training images, drawn where the network computes: once an epoch has begun, the host is not asked again.

Every random number belongs to a key (seed, epoch, image), none to a generator's past.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .noise import Level, generator, noise_std
from .philox import key_words, standard_normal


def draw_choices(
    shape: Sequence[int],
    seed: int,
    epoch: int,
    index: int,
    *,
    noise_level: Level,
    crop: int | None,
    flips: bool,
    views: int = 1,
) -> tuple[float, int, int, int, bool]:
    """(noise level, view, top, left, flip) of image `index` in `epoch`; its crop has the shape of `crop_shape`."""
    random = generator(seed, "training", epoch, index)
    level = random.uniform(*noise_level) if isinstance(noise_level, (list, tuple)) else noise_level
    room = np.subtract(shape, crop_shape(shape, crop)) + 1
    top, left = (int(random.integers(n)) for n in room)
    flip = bool(flips and random.random() < 0.5)
    view = int(random.integers(views)) if views > 1 else 0
    return level, view, top, left, flip


def crop_shape(shape: Sequence[int], crop: int | None) -> tuple[int, ...]:
    """Height and width of a crop with side `crop` (None: the whole image), at most the image's own."""
    return tuple(min(crop or side, side) for side in shape)


class Batches:
    """All training images on a device, and the state of one pass over them.

    images: float32 (n, H, W), or (n, v, H, W) with v views of each image, of which an epoch uses one; size: examples of
    a batch, of which the last one of an epoch may have fewer. `position` counts the images of the epoch that were
    drawn; it lives on the device, so that a CUDA graph can advance it.
    """

    def __init__(
        self,
        images: np.ndarray,
        seed: int,
        size: int,
        device: torch.device,
        *,
        noise_level: Level,
        noise_kind: str,
        crop: int | None,
        flips: bool,
    ) -> None:
        self.n, self.views = len(images), images.shape[1] if images.ndim == 4 else 1
        images = images.reshape(-1, *images.shape[-2:])
        self.images, self.seed, self.size = torch.tensor(images, device=device), seed, size
        self.choices_of: dict[str, Any] = {
            "noise_level": noise_level,
            "crop": crop,
            "flips": flips,
            "views": self.views,
        }
        self.unit_std = np.array([noise_std(image, 1, noise_kind) for image in images])  # whole images, not the crops
        self.key = key_words(seed, "training noise")
        height, width = crop_shape(images.shape[1:], crop)
        self.rows, self.columns = torch.arange(height, device=device), torch.arange(width, device=device)
        self.places = torch.zeros(self.n, 5, dtype=torch.int64, device=device)  # image, its view, top, left, flip
        self.std = torch.zeros(self.n, device=device)
        self.epoch, self.position = (torch.zeros(1, dtype=torch.int64, device=device) for _ in range(2))

    def begin(self, epoch: int, position: int = 0) -> None:
        """Draw the order of the images and the choices of `epoch`; the first `position` images count as drawn."""
        shape = self.images.shape[1:]
        order = generator(self.seed, "order", epoch).permutation(self.n).tolist()
        drawn = [draw_choices(shape, self.seed, epoch, index, **self.choices_of) for index in order]
        shown = [index * self.views + view for index, (_, view, *_) in zip(order, drawn, strict=True)]
        places = [(index, at, *cut) for index, at, (_, _, *cut) in zip(order, shown, drawn, strict=True)]
        self.places.copy_(torch.tensor(places))
        self.std.copy_(torch.tensor([level for level, *_ in drawn]) * torch.from_numpy(self.unit_std[shown]))
        self.epoch.fill_(epoch)
        self.position.fill_(position)

    def draw(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The next `size` examples of the epoch: (clean, noisy), float32 (size, 1, h, w)."""
        at = self.position + torch.arange(size, device=self.position.device)
        image, shown, top, left, flip = self.places[at].unbind(1)
        rows = top[:, None] + self.rows
        columns = left[:, None] + torch.where(flip[:, None] == 1, self.columns.flip(0), self.columns)
        clean = self.images[shown[:, None, None], rows[:, :, None], columns[:, None, :]]
        noise = standard_normal(self.key, image, self.epoch, clean.shape[1:])
        noisy = clean + self.std[at][:, None, None] * noise
        self.position += size
        return clean[:, None], noisy[:, None]
