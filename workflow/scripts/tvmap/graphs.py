"""CUDA graphs: a step of hundreds of small kernels, launched as one."""

from collections.abc import Callable, Sequence

import torch

from .logs import log

WARM_UPS = 3  # runs before the capture, in which libraries choose their kernels and Triton compiles its own


def captured(step: Callable[[], object], changed: Sequence[torch.Tensor]) -> Callable[[], object]:
    """A function that does what `step()` does, as a CUDA graph where it can be captured; else `step` itself.

    step: works on tensors of one CUDA device, asks the host for nothing, and is given everything in the same memory
    each time. changed: the tensors that it changes; warm-up and capture leave them as they were.
    """
    if not changed or changed[0].device.type != "cuda":
        return step
    before = [tensor.detach().clone() for tensor in changed]

    @torch.no_grad()
    def restore() -> None:
        for tensor, old in zip(changed, before, strict=True):
            tensor.copy_(old)

    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                step()
                restore()  # a second step may not be possible: the epoch may have no more images
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return graph.replay
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        log.warning("no CUDA graph (%s): every kernel of a step is launched by itself", str(error).splitlines()[0])
        restore()
        return step
