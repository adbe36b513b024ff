"""What the estimates of plan.py ask of a machine: speeds measured here, or taken from the sheet of an NVIDIA L4."""

import math
import time
from dataclasses import dataclass

from zmem_lib.params import Params


@dataclass(frozen=True)
class Machine:
    """What the estimates ask of a machine; on a CPU the last two cost nothing beside the arithmetic."""

    flops_per_second: float  # of a plain matrix product
    encoded_per_second: float = 20.0  # passages, by the packaged dense model; on two cores
    bytes_per_second: float = math.inf  # of its memory
    layer_seconds: float = 0.0  # to start the kernels of one layer


# NVIDIA's sheet: 121 TFLOP/s in bfloat16 without sparsity, 300 GB/s; at 72 W about half and four fifths of it are had.
L4 = Machine(0.5 * 121e12, 1000.0, 0.8 * 300e9, 1.5e-3)


def measure_flops_per_second(device: str = "cpu", size: int = 1024, repeats: int = 6) -> float:
    """Floating point operations a second in a product of two square matrices, in the faster of float32 and bfloat16."""
    import torch

    best = float("inf")
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.rand(2, size, size, device=device).to(dtype)  # (size, size) each
        for _ in range(repeats):
            began = time.perf_counter()
            float((a @ b)[0, 0])  # reading one value waits for a GPU
            best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def this_machine(params: Params) -> Machine:
    """What the chapters will run on: this processor, measured, or a GPU, taken for an L4.

    A GPU is not measured here, because that would keep some of its memory from the chapters.
    """
    import torch

    on_gpu = params.machine.device != "cpu" and torch.cuda.is_available()
    return L4 if on_gpu else Machine(measure_flops_per_second())
