"""Standard normal numbers that depend on a key and a counter alone, the same on every device.

Philox-4×32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405) maps a key and a counter to four 32-bit words, the
Box-Muller transform two words to two normal numbers. There is no state: nothing to save, nothing that an order or a
batch could change, and a CUDA graph replays it with other counters.
"""

import hashlib
import math
from collections.abc import Sequence

import torch

WORD = 0xFFFFFFFF
ROUNDS = 10


def key_words(*parts: object) -> tuple[int, int]:
    """The key, two 32-bit words, that belongs to `parts`: the start of their SHA-256."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def philox4x32(
    counter: Sequence[torch.Tensor], key: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four words for each counter; counter: four int64 tensors of 32-bit words that broadcast, key: two numbers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        # The product of two words overflows int64, but its 64 bits are right, and those are all that is used.
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = ((p1 >> 32) & WORD) ^ c1 ^ k0, p1 & WORD, ((p0 >> 32) & WORD) ^ c3 ^ k1, p0 & WORD
        k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
    return c0, c1, c2, c3


def standard_normal(
    key: tuple[int, int], stream: torch.Tensor, substream: torch.Tensor, shape: Sequence[int]
) -> torch.Tensor:
    """float32 (n, *shape): n images of normal numbers, one for each entry of `stream`, int64 (n,).

    stream, substream (a tensor of one entry): words below 2³² that number the images, here image and epoch.
    """
    size = math.prod(shape)
    group = torch.arange(-(-size // 4), device=stream.device)
    zero = torch.zeros_like(substream)
    words = [w.float() for w in philox4x32((group, stream[:, None], substream, zero), key)]
    numbers = []
    for a, b in (words[:2], words[2:]):
        radius = (-2 * torch.log((a + 0.5) * 2**-32)).sqrt()
        angle = b * (2 * math.pi * 2**-32)
        numbers += [radius * torch.cos(angle), radius * torch.sin(angle)]
    return torch.stack(numbers, dim=-1).flatten(1)[:, :size].unflatten(1, shape)
