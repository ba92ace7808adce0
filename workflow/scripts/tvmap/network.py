"""NET_Θ: the U-Net that maps a noisy image to the regularisation parameter map Λ_Θ (dissertation, sections 2.4, 3)."""

import json
from collections.abc import Mapping
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import nn
from torch.nn import functional as F

from .architecture import CHANNELS
from .devices import allow_tf32, has_bfloat16
from .errors import StudyError
from .files import PathLike, write_atomically
from .logs import log
from .noise import MAD_TO_STD
from .solver import PENALTIES, solve

NEGATIVE_SLOPE = 0.01
NOISE_ESTIMATES = ("none", "input", "unit")
LARGEST_BOUND, LARGEST_RATIO = 100, 50  # up_bound, and |ρ|, of weights that are read
CHOICES: dict[str, tuple[Any, ...]] = {  # their other settings
    "padding": (0, 4),
    "precision": ("float32", "tf32", "bfloat16"),
    "predicts": ("map", "image"),
    "maps": (1, 2),
    "penalty": PENALTIES,
    "noise_estimate": NOISE_ESTIMATES,
    "steps": ("fixed", "learned"),
    "start": ("default", "kaiming"),
}
NOISE_SCALE = 10  # of the noise's standard deviation as an input: like the image, it is then of the order of 1
NOISE_FLOOR = 1e-4  # smallest unit: an image without noise has no scale
STRIP = 2**20  # pixels of an image above which the U-Net, without gradients, works in strips of so many
THINNEST, HALO = 128, 64  # pixels of a strip and around it: one of the U-Net's output depends on those within 58


def _double_convolution(n_in: int, n_out: int) -> nn.Sequential:
    """Two 3×3 convolutions, zero padding 1, each followed by a leaky ReLU."""
    activation = nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1), activation, nn.Conv2d(n_out, n_out, 3, padding=1), activation
    )


def _channels_last(gradient: torch.Tensor) -> torch.Tensor:
    """The gradient in one piece: as a slice of a concatenation, it slows PyTorch's interpolation down four times."""
    return gradient.contiguous(memory_format=torch.channels_last)


class UNet(nn.Module):
    """1-32-64-128-256-128-64-32-2, (B, n_in, H, W) → (B, 2, H, W), any H and W; 1,796,034 parameters for n_in = 1.

    Encoder: 2×2 max pooling, double convolution. Decoder: linear upsampling ×2 (corners aligned), 1×1 convolution
    C → C/2, concatenation with the skip connection, double convolution. Last: 1×1 convolution 32 → 2.
    """

    def __init__(self, n_in: int = 1) -> None:
        super().__init__()
        down = CHANNELS[1 : len(CHANNELS) // 2 + 1]
        pairs = list(zip(down, down[1:], strict=False))
        self.first = _double_convolution(n_in, down[0])
        self.encoders = nn.ModuleList(_double_convolution(a, b) for a, b in pairs)
        self.reductions = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in reversed(pairs))
        self.decoders = nn.ModuleList(_double_convolution(b, a) for a, b in reversed(pairs))
        self.last = nn.Conv2d(down[0], CHANNELS[-1], 1)

    def forward(self, x: torch.Tensor, part_of: tuple[int, int, int] | None = None) -> torch.Tensor:
        """x (B, n_in, H, W) → (B, 2, H, W).

        part_of: (axis, begin, length) where x is a strip of larger images: what begins at `begin`, a multiple of 8, of
        the `length` pixels that these have along an axis.
        """
        skips = [self.first(x)]
        for encoder in self.encoders:
            # Rounded up, so that sizes not divisible by 8 work too; for the others it is the plain halving.
            skips.append(encoder(F.max_pool2d(skips[-1], 2, ceil_mode=True)))
        y = skips.pop()
        for reduction, decoder in zip(self.reductions, self.decoders, strict=True):
            skip = skips.pop()
            # A 1×1 convolution and an interpolation commute; before it, the convolution costs a quarter.
            y = reduction(y)
            if part_of is None:
                y = F.interpolate(y, size=skip.shape[-2:], mode="bilinear", align_corners=True)
            else:
                axis, begin, length = part_of
                y = _interpolate_part(y, skip, axis, begin >> len(skips), -(-length >> len(skips)))
            if y.requires_grad:
                y.register_hook(_channels_last)
            y = decoder(torch.cat([skip, y], dim=1))
        return self.last(y)

    def by_strips(self, x: torch.Tensor, thickness: int) -> torch.Tensor:
        """forward(x) in the memory of a strip: in strips of this thickness, a multiple of 8, across the longer side."""
        axis = -2 if x.shape[-2] >= x.shape[-1] else -1
        length, strips = x.shape[axis], []
        for start in range(0, length, thickness):
            begin, end = max(start - HALO, 0), min(start + thickness + HALO, length)
            y = self(x.narrow(axis, begin, end - begin), (axis, begin, length))
            strips.append(y.narrow(axis, start - begin, min(thickness, length - start)))
        return torch.cat(strips, dim=axis)


def _interpolate_part(y: torch.Tensor, skip: torch.Tensor, axis: int, begin: int, length: int) -> torch.Tensor:
    """`y` upsampled to the pixels of `skip`, which begin at `begin` of `length` pixels along the axis.

    With aligned corners a pixel's place depends on the size of the whole image, of which y is a part.
    """
    size = [*skip.shape[-2:]]
    size[axis] = y.shape[axis]
    y = F.interpolate(y, size=size, mode="bilinear", align_corners=True)
    pixels = torch.arange(begin, begin + skip.shape[axis], dtype=torch.float64, device=y.device)
    place = pixels * ((-(-length // 2) - 1) / max(length - 1, 1)) - begin // 2
    place = place.clamp(0, y.shape[axis] - 1)
    low = place.floor().long()
    high = (low + 1).clamp_max(y.shape[axis] - 1)
    share = (place - low).to(y.dtype).reshape((-1, 1) if axis == -2 else (1, -1))
    y = torch.lerp(y.index_select(axis, low), y.index_select(axis, high), share)
    return y.contiguous(memory_format=torch.channels_last)


def estimate_noise_std(z: torch.Tensor) -> torch.Tensor:
    """`noise.estimate_noise_std` of each image of a batch, in PyTorch: z (B, 1, H, W) → (B, 1, 1, 1).

    The median of an even number of differences is the lower of the two in the middle, not their mean.
    """
    if min(z.shape[-2:]) < 2:
        return z.new_zeros(len(z), 1, 1, 1)
    details = z.diff(dim=-2).diff(dim=-1) / 2
    return (details.abs().flatten(1).median(1).values * MAD_TO_STD).reshape(-1, 1, 1, 1)


class MapNetwork(nn.Module):
    """NET_Θ with its output function: Λ_Θ = 0.1·softplus(channel 0) for up_bound 0, up_bound·sigmoid(channel 0) above.

    `predicts`: map, or image, a rival without TV: x̂ = z − channel 0, the noise being what the U-Net predicts (Zhang
    et al. 2017). `maps`: 2 gives each direction, vertical and horizontal, its map, from channels 0 and 1. `penalty`:
    tv, or tgv, which takes two maps, Λ₁ from channel 0 and Λ₀ from channel 1 (see `tgv`). `padding`: reflect padding of
    the input, cropped from the output. `bfloat16`: U-Net in bfloat16, Λ in float32; where the device has no bfloat16,
    the U-Net stays in float32, which is said once. `steps`: of PDHG, fixed, or learned: then
    the network has one more parameter, `log_ratio`, the ρ of `pdhg.step_sizes`; 0, the fixed steps, to begin with.
    `noise_estimate`: what becomes of σ̂, the noise's standard deviation as estimated from z: none; input: a second,
    constant input channel, whose weights are 288 more parameters; unit: of grey values, so that
    Λ_Θ(z) = σ̂ · softplus(U((z − mean z)/σ̂)), or σ̂ · up_bound · sigmoid(U(…)), or x̂ = z − σ̂ · U(…). As the problem is
    invariant under such changes of z and Λ, so should the map be, Λ_Θ(c z + d) = c Λ_Θ(z) for c > 0, while σ̂ is above
    NOISE_FLOOR: nothing has to be learned anew for another level of noise or another brightness.
    With one map the second channel is idle: it belongs to a time direction that a still image does not have, and is
    kept for the published count.
    """

    def __init__(
        self,
        up_bound: float = 0.0,
        padding: int = 0,
        bfloat16: bool = False,
        predicts: str = "map",
        maps: int = 1,
        penalty: str = "tv",
        noise_estimate: str = "none",
        steps: str = "fixed",
    ) -> None:
        super().__init__()
        if noise_estimate not in NOISE_ESTIMATES:
            raise ValueError(f"noise_estimate must be one of {NOISE_ESTIMATES}, not {noise_estimate!r}")
        if penalty not in PENALTIES or (penalty == "tgv" and (maps != 2 or steps != "fixed")):
            raise ValueError(f"penalty {penalty!r}, {maps} maps, {steps} steps: tgv takes 2 maps and fixed steps")
        self.unet, self.predicts, self.maps = UNet(2 if noise_estimate == "input" else 1), predicts, maps
        self.penalty, self.noise_estimate, self.steps = penalty, noise_estimate, steps
        self.up_bound, self.padding, self.in_bfloat16 = up_bound, padding, bfloat16
        learned = steps == "learned" and predicts == "map"
        self.log_ratio = nn.Parameter(torch.zeros(())) if learned else 0.0

    def weights(self) -> dict[str, torch.Tensor]:
        """All that is learned, by name: the U-Net's weights, and log_ratio if the steps are learned."""
        own = {name: parameter.detach() for name, parameter in self.named_parameters(recurse=False)}
        return self.unet.state_dict() | own

    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take over what `weights()` of such a network gave; a missing or unknown name is an error."""
        weights = dict(weights)
        for name, parameter in self.named_parameters(recurse=False):
            parameter.data.copy_(weights.pop(name))
        self.unet.load_state_dict(weights)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """z (B, 1, H, W) → Λ (B, maps, H, W), ≥ 0, or x̂ (B, 1, H, W)."""
        unit: int | torch.Tensor
        d, unit, y = self.padding, 1, z
        if self.noise_estimate == "unit":
            unit = estimate_noise_std(z).clamp_min(NOISE_FLOOR)
            y = (z - z.mean((-2, -1), keepdim=True)) / unit
        y = F.pad(y, (d, d, d, d), mode="reflect") if d else y
        if self.in_bfloat16 and not has_bfloat16(z.device):
            self.in_bfloat16 = False
            log.warning("no fast bfloat16 on this %s: the U-Net computes in float32", z.device.type)
        if self.noise_estimate == "input":
            y = torch.cat([y, (NOISE_SCALE * estimate_noise_std(z)).expand_as(y)], dim=1)
        with torch.autocast(z.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            y = self._of_unet(y.to(memory_format=torch.channels_last))
        n_used = self.maps if self.predicts == "map" else 1
        y = y[:, :n_used, d : d + z.shape[-2], d : d + z.shape[-1]].to(z.dtype)
        if self.predicts == "image":
            return z - unit * y
        if self.up_bound > 0:
            return unit * self.up_bound * torch.sigmoid(y)
        return (0.1 if self.noise_estimate != "unit" else unit) * F.softplus(y)

    def _of_unet(self, y: torch.Tensor) -> torch.Tensor:
        height, width = y.shape[-2:]
        if torch.is_grad_enabled() or height * width <= STRIP:
            return self.unet(y)
        return self.unet.by_strips(y, _thickness(height, width))


def _thickness(height: int, width: int) -> int:
    """Pixels of a strip across the longer side: about STRIP in all."""
    return max(THINNEST, STRIP // min(height, width) // 8 * 8)


def pixels_at_once(height: int, width: int) -> int:
    """Of an image of this size, how many pixels the U-Net sees at once where no gradient is asked for."""
    return min(height * width, (_thickness(height, width) + 2 * HALO) * min(height, width))


def keep_variance(unet: UNet) -> None:
    """Draw the weights of all but the last convolution from N(0, g²/n), n inputs of a number of its output; biases 0.

    g² = 2/(1 + slope²) before a leaky ReLU of this slope (He et al. 2015), 1 where none follows.
    """
    for convolution in unet.modules():
        if isinstance(convolution, nn.Conv2d) and convolution is not unet.last:
            slope = 1 if convolution in [*unet.reductions] else NEGATIVE_SLOPE
            nn.init.kaiming_normal_(convolution.weight, a=slope, nonlinearity="leaky_relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # all have one


def build(
    up_bound: float = 0.0,
    padding: int = 0,
    precision: str = "float32",
    predicts: str = "map",
    maps: int = 1,
    penalty: str = "tv",
    noise_estimate: str = "none",
    steps: str = "fixed",
    start: str = "default",
    seed: int | None = None,
) -> MapNetwork:
    """A `MapNetwork` in channels_last, its weights drawn from `seed`.

    start: default, as PyTorch does it, which makes the activations smaller from layer to layer | kaiming, which keeps
    their size (see `keep_variance`).
    precision: float32 | tf32 (on a GPU, factors of products are rounded to 10 bits) | bfloat16 (of the U-Net alone).

    Raises:
        ValueError: unknown `start`.
    """
    allow_tf32(precision == "tf32")  # PyTorch has one switch for all networks of a process
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        network = MapNetwork(up_bound, padding, precision == "bfloat16", predicts, maps, penalty, noise_estimate, steps)
        if start == "kaiming":
            keep_variance(network.unet)
        elif start != "default":
            raise ValueError(f"start must be default or kaiming, not {start!r}")
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # PyTorch's annotation lacks it


def save_weights(path: PathLike, state: Mapping[str, torch.Tensor], settings: Mapping[str, Any]) -> None:
    """Write `state`, a network's `weights()`, as safetensors, `settings` (a dict) as JSON beside them, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_atomically(path, save(tensors, metadata={"settings": json.dumps(settings, sort_keys=True)}))


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what the schema of the configuration would: a file of weights may say anything."""
    for name, value in settings.items():
        known = CHOICES.get(name, (value,))
        if not any(type(value) is type(choice) and value == choice for choice in known):
            raise ValueError(f"{name} {value!r}, known are {', '.join(map(str, known))}")
    up_bound = settings.get("up_bound", 0)
    if type(up_bound) not in (int, float) or not 0 <= up_bound <= LARGEST_BOUND:
        raise ValueError(f"up_bound {up_bound!r}, a number from 0 to {LARGEST_BOUND} is needed")


def load_network(path: PathLike) -> MapNetwork:
    """The `MapNetwork` whose weights and settings are in `path`, in evaluation mode. No code in the file is run.

    Raises:
        StudyError: the file holds no weights of such a network.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            settings = json.loads(file.metadata()["settings"])
        _check_settings(settings)
        network = build(**settings)
        weights = load_file(path)
        network.load_weights(weights)
        if not all(tensor.isfinite().all() for tensor in weights.values()):
            raise ValueError("they are not all finite")
        ratio = float(weights.get("log_ratio", 0))
        if abs(ratio) > LARGEST_RATIO:
            raise ValueError(f"log_ratio {ratio:g}, from {-LARGEST_RATIO} to {LARGEST_RATIO} is needed")
    except Exception as error:  # damaged files raise SafetensorError, RuntimeError, TypeError, KeyError, OSError, ...
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise StudyError(
            f"{path}: not the weights of this network ({reason}); train again or give another file"
        ) from error
    return network.eval()


def denoise(network: MapNetwork, z: torch.Tensor, solver: Mapping[str, Any]) -> torch.Tensor:
    """x̂ of z (B, 1, H, W): solved with the network's map or maps, penalty and steps, or the network's image.

    Where no gradient is asked for, the network sees one image at a time: the batch changes no result.
    """
    output = network(z) if torch.is_grad_enabled() else predict(network, z)
    if network.predicts == "image":
        return output
    return solve(z, output, **solver, penalty=network.penalty, log_ratio=network.log_ratio)[0]


def predict(network: MapNetwork, z: torch.Tensor) -> torch.Tensor:
    """Λ_Θ (or x̂) of every image of z (B, 1, H, W), one at a time, without gradients: the batch changes no result."""
    with torch.inference_mode():
        return torch.cat([network(image[None]) for image in z])
