"""Runs a batch in smaller pieces where the GPU has no memory for all of it at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch

from infoadv.attacks.contract import AttackError

Result = TypeVar("Result")


def in_pieces(work: Callable[[np.ndarray], Result], batch: np.ndarray) -> tuple[list[Result], int]:
    """Return ``work`` of each piece of ``batch`` (N,), the places of images, and how many images the largest piece holds.

    The first try is the whole batch; after each ``torch.OutOfMemoryError`` all of it is run again in pieces half as large.
    A piece rounds differently from a whole batch, so whoever calls this has to record the size.

    Raises ``AttackError`` where memory is short of a single image.
    """
    size = len(batch)
    while True:
        try:
            return [work(batch[start : start + size]) for start in range(0, len(batch), size)], size
        except torch.OutOfMemoryError:
            if size == 1:
                raise AttackError(
                    "out of memory with a single image; take a GPU with more free memory, or set device to cpu."
                ) from None
        # Out of the except clause, so that nothing holds on to the tensors of the failed try.
        size = -(-size // 2)
        torch.cuda.empty_cache()
