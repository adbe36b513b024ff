"""How a learning rate goes over the steps of a training: a share of its largest value at each step."""

import math

WARM_UP = 0.05  # of the steps
LAST = 0.05  # of the rate, where the cosine ends


def cosine(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to LAST of the rate."""
    warm_up = max(1, round(steps * WARM_UP))
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return LAST + (1 - LAST) * (1 + math.cos(math.pi * done)) / 2


def linear(step: int, steps: int, *, warm_up: float) -> float:
    """From 0 up during a share `warm_up` of the steps, then linearly back to 0 (as BERT is fine-tuned, 1810.04805)."""
    rising = math.ceil(steps * warm_up)
    if step < rising:
        return step / rising
    return max(0.0, (steps - step) / max(1, steps - rising))
