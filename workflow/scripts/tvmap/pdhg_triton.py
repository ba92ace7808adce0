"""PDHG and its exact gradient on a GPU: the iterations of `pdhg` with the anisotropic norm, compiled by Triton.

The GPU twin of `pdhg_numba`: one launch an iteration, for a whole batch, instead of some thirty small ones.

Layout. Images (B, 1, H, W), q and its derivatives (B, 2, H, W), the vertical one first. A program handles BLOCK pixels
of one row, one a thread, as a single image is little work for a GPU. (For tiles of rows and columns, Triton 3.6 makes
code that passes values between threads, behind barriers.) All programs lie on one axis of the grid, since the two
others end at 65,535. z and Λ are read through strides, 0 where they are broadcast: many λ for one image take no copies
of either.

Schedule. Programs of one launch run in any order and cannot wait for each other. So what neighbours read (x̄ and q,
backwards a and g_q) is read from one buffer and written to another, which the host swaps; and ∇ᵀq needs the new q of
the row above and of the column to the left, which every pixel computes anew. All else is updated in place.

Boundaries. The neighbour past the last row or column is the first one (periodic) or the last itself (neumann: the
difference is 0, so q stays 0 there); before the first, it is the last one or none.

Gradient. With fixed steps only the projection is not linear, and its derivative follows from where it ends: at −Λ,
inside or at Λ. The forward launches store that, four bits a pixel and iteration (bits 0-1 vertical, bits 2-3
horizontal; 1 at Λ, 2 at −Λ) and two iterations a byte, the even one in the lower half; the backward launches run the
transposed linear recurrence in reverse.

The step sizes lie in a tensor of the images' type: Triton passes a Python float as float32, and a learned ratio of the
steps changes between two solves, which within a CUDA graph only a tensor can. No launch waits for the GPU or depends on
data, so a CUDA graph can capture them all.
"""

import torch
import triton
import triton.language as tl

from .pdhg import step_sizes

BLOCK = 128  # pixels of a program
WARPS = BLOCK // 32


@triton.jit
def _pixels(H, W, PERIODIC: tl.constexpr, BLOCK: tl.constexpr):
    """(image, row i, columns j, row below, row above, columns right and left of j, mask) of this program."""
    across = tl.cdiv(W, BLOCK)
    piece = tl.program_id(0)
    i = piece // across % H
    j = piece % across * BLOCK + tl.arange(0, BLOCK)
    below = tl.where(i < H - 1, i + 1, 0 if PERIODIC else i)
    above = tl.where(i > 0, i - 1, H - 1)
    right = tl.where(j < W - 1, j + 1, 0 if PERIODIC else j)
    left = tl.where(j > 0, j - 1, W - 1)
    # A batch may hold more than 2³¹ pixels, an image does not.
    return (piece // (across * H)).to(tl.int64), i, j, below, above, right, left, j < W


@triton.jit
def _clip(u, w):
    return tl.minimum(tl.maximum(u, -w), w)


@triton.jit
def _code(u, w):
    return tl.where(u > w, 1, tl.where(u < -w, 2, 0))


@triton.jit(do_not_specialize=["k", "B"])
def _forward(
    z,
    z_image,
    z_row,
    z_column,
    weight,
    w_image,
    w_channel,
    w_row,
    w_column,
    x,
    p,
    x_bar,
    x_bar_new,
    q,
    q_new,
    codes,
    k,
    B,
    H,
    W,
    steps,
    PERIODIC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Iteration k of Algorithm 1: q ← clip_Λ(q + σ∇x̄);  p ← (p + σ(x̄ − z))·shrink;  x ← x − τ(p + ∇ᵀq);  x̄."""
    image, i, j, below, above, right, left, inside = _pixels(H, W, PERIODIC, BLOCK)
    primal_step, dual_step, shrink = tl.load(steps), tl.load(steps + 1), tl.load(steps + 2)
    here, start = i * W + j, image * H * W
    x_bar += start
    q_v, q_h = q + 2 * start, q + 2 * start + H * W
    w_v = weight + image * w_image
    w_h = w_v + w_channel

    centre = tl.load(x_bar + here, inside)
    wv, wh = tl.load(w_v + i * w_row + j * w_column, inside), tl.load(w_h + i * w_row + j * w_column, inside)
    uv = tl.load(q_v + here, inside) + dual_step * (tl.load(x_bar + below * W + j, inside) - centre)
    uh = tl.load(q_h + here, inside) + dual_step * (tl.load(x_bar + i * W + right, inside) - centre)
    qv, qh = _clip(uv, wv), _clip(uh, wh)

    up, back = above * W + j, i * W + left
    qv_above = tl.load(q_v + up, inside) + dual_step * (centre - tl.load(x_bar + up, inside))
    qv_above = _clip(qv_above, tl.load(w_v + above * w_row + j * w_column, inside))
    qh_left = tl.load(q_h + back, inside) + dual_step * (centre - tl.load(x_bar + back, inside))
    qh_left = _clip(qh_left, tl.load(w_h + i * w_row + left * w_column, inside))
    if not PERIODIC:
        qv_above, qh_left = tl.where(i > 0, qv_above, 0.0), tl.where(j > 0, qh_left, 0.0)

    noisy = tl.load(z + image * z_image + i * z_row + j * z_column, inside)
    x_old = tl.load(x + start + here, inside)
    p_new = (tl.load(p + start + here, inside) + dual_step * (centre - noisy)) * shrink
    x_new = x_old - primal_step * (p_new + (qv_above - qv) + (qh_left - qh))
    tl.store(p + start + here, p_new, inside)
    tl.store(x + start + here, x_new, inside)
    tl.store(x_bar_new + start + here, x_new + (x_new - x_old), inside)
    tl.store(q_new + 2 * start + here, qv, inside)
    tl.store(q_new + 2 * start + H * W + here, qh, inside)

    if codes is not None:
        byte = codes + ((k // 2).to(tl.int64) * B + image) * H * W + here
        code = _code(uv, wv) | (_code(uh, wh) << 2)
        if k % 2 == 1:
            code = (code << 4) | tl.load(byte, inside).to(tl.int32)
        tl.store(byte, code, inside)


@triton.jit(do_not_specialize=["k", "B"])
def _backward(
    a,
    a_new,
    g_q,
    g_q_new,
    g_x,
    g_p,
    g_z,
    g_weight,
    codes,
    k,
    B,
    H,
    W,
    steps,
    PERIODIC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Transpose of iteration k. a = g_x + 2 g_x̄ is all that flows into the new x, so g_x̄ need not be stored."""
    image, i, j, below, above, right, left, inside = _pixels(H, W, PERIODIC, BLOCK)
    primal_step, dual_step, shrink = tl.load(steps), tl.load(steps + 1), tl.load(steps + 2)
    here, start = i * W + j, image * H * W
    a += start
    gq_v, gq_h = g_q + 2 * start, g_q + 2 * start + H * W
    gw_v, gw_h = g_weight + 2 * start + here, g_weight + 2 * start + H * W + here
    codes += ((k // 2).to(tl.int64) * B + image) * H * W
    shift = k % 2 * 4

    # Transpose of x ← x − τ∇ᵀq, then of the projection of q: where that stopped q, the slope goes to ±Λ.
    centre = tl.load(a + here, inside)
    code = tl.load(codes + here, inside).to(tl.int32) >> shift
    gv = tl.load(gq_v + here, inside) - primal_step * (tl.load(a + below * W + j, inside) - centre)
    gh = tl.load(gq_h + here, inside) - primal_step * (tl.load(a + i * W + right, inside) - centre)
    to_v = tl.where(code & 1 != 0, gv, tl.where(code & 2 != 0, -gv, 0.0))
    to_h = tl.where(code & 4 != 0, gh, tl.where(code & 8 != 0, -gh, 0.0))
    tl.store(gw_v, tl.load(gw_v, inside) + to_v, inside)
    tl.store(gw_h, tl.load(gw_h, inside) + to_h, inside)
    gv, gh = tl.where(code & 3 == 0, gv, 0.0), tl.where(code & 12 == 0, gh, 0.0)

    up, back = above * W + j, i * W + left
    gv_above = tl.load(gq_v + up, inside) - primal_step * (centre - tl.load(a + up, inside))
    gv_above = tl.where((tl.load(codes + up, inside).to(tl.int32) >> shift) & 3 == 0, gv_above, 0.0)
    gh_left = tl.load(gq_h + back, inside) - primal_step * (centre - tl.load(a + back, inside))
    gh_left = tl.where((tl.load(codes + back, inside).to(tl.int32) >> shift) & 12 == 0, gh_left, 0.0)
    if not PERIODIC:
        gv_above, gh_left = tl.where(i > 0, gv_above, 0.0), tl.where(j > 0, gh_left, 0.0)

    # Transpose of the steps of p and x̄.
    gp = (tl.load(g_p + start + here, inside) - primal_step * centre) * shrink
    gx = 0.5 * (tl.load(g_x + start + here, inside) + centre)
    gx_bar = dual_step * (gp + (gv_above - gv) + (gh_left - gh))
    tl.store(g_p + start + here, gp, inside)
    if g_z is not None:
        tl.store(g_z + start + here, tl.load(g_z + start + here, inside) - dual_step * gp, inside)
    tl.store(g_x + start + here, gx, inside)
    tl.store(a_new + start + here, gx + (gx_bar + gx_bar), inside)
    tl.store(g_q_new + 2 * start + here, gv, inside)
    tl.store(g_q_new + 2 * start + H * W + here, gh, inside)


def _steps(images, lipschitz, log_ratio):
    """τ, σ and shrink = 1/(1 + σ), of the type of `images`; nothing is copied from the host."""
    if not isinstance(log_ratio, torch.Tensor):
        log_ratio = images.new_full((), log_ratio, dtype=torch.float64)
    primal_step, dual_step = step_sizes(lipschitz, log_ratio.double())
    return torch.stack([primal_step, dual_step, 1 / (1 + dual_step)]).to(images.dtype)


def _launch_options(shape, boundary):
    """The grid for images of `shape` (B, 1, H, W), and the compile-time constants."""
    constants = {"PERIODIC": boundary == "periodic", "BLOCK": BLOCK}
    constants |= {"num_warps": WARPS, "enable_fp_fusion": True}  # defaults differ between versions
    B, _, H, W = shape
    return (B * H * triton.cdiv(W, BLOCK),), constants


def forward(z, weight, iterations, boundary, dual_start, lipschitz, keep_codes=False, log_ratio=0.0):
    """z (B, 1, H, W), weight broadcastable to (B, 2, H, W), same dtype. Returns x_T, q_T (B, 2, H, W) and codes.

    codes: (⌈iterations / 2⌉, B, H, W) uint8 for `backward`, or None.
    """
    B, _, H, W = z.shape
    weight = weight.expand(B, 2, H, W)
    x, x_bar, x_bar_new = (z.clone(memory_format=torch.contiguous_format) for _ in range(3))
    p = x.clone() if dual_start == "image" else torch.zeros_like(x)
    q, q_new = x.new_zeros(B, 2, H, W), x.new_empty(B, 2, H, W)
    codes = x.new_empty(-(-iterations // 2), B, H, W, dtype=torch.uint8) if keep_codes else None
    z_image, _, *z_steps = z.stride()
    grid, constants = _launch_options(z.shape, boundary)
    steps = _steps(z, lipschitz, log_ratio)
    with torch.cuda.device_of(z):
        for k in range(iterations):
            state = (x, p, x_bar, x_bar_new, q, q_new, codes)
            _forward[grid](z, z_image, *z_steps, weight, *weight.stride(), *state, k, B, H, W, steps, **constants)
            x_bar, x_bar_new, q, q_new = x_bar_new, x_bar, q_new, q
    return x, q, codes


def backward(grad_x, codes, iterations, boundary, dual_start, lipschitz, with_z=True, log_ratio=0.0):
    """∂loss/∂z (B, 1, H, W), or None, and ∂loss/∂Λ (B, 2, H, W) from ∂loss/∂x_T and the codes of `forward`."""
    B, _, H, W = grad_x.shape
    g_x, a, a_new = (grad_x.clone(memory_format=torch.contiguous_format) for _ in range(3))
    g_p, g_z = torch.zeros_like(a), torch.zeros_like(a) if with_z else None
    g_q, g_q_new, g_weight = (a.new_zeros(B, 2, H, W) for _ in range(3))
    grid, constants = _launch_options(grad_x.shape, boundary)
    steps = _steps(grad_x, lipschitz, log_ratio)
    with torch.cuda.device_of(a):
        for k in reversed(range(iterations)):
            state = (a, a_new, g_q, g_q_new, g_x, g_p, g_z, g_weight, codes)
            _backward[grid](*state, k, B, H, W, steps, **constants)
            a, a_new, g_q, g_q_new = a_new, a, g_q_new, g_q
    if with_z:
        g_z += 0.5 * (g_x + a)  # z enters every step, and as x₀ and x̄₀: g_x + g_x̄
        if dual_start == "image":
            g_z += g_p
    return g_z, g_weight
