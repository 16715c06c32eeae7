"""How exactly a GPU multiplies float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """float32 products with all their bits on a GPU, in a ``with`` or as a decorator.

    SpeechBrain lets a GPU round factors to TF32's 10 bits: quicker, and good enough to train with,
    but an embedding would then depend on its batch and a score on the block that it is computed in
    by 1e-3. The flags are of the whole process. On a CPU nothing changes.

    Example
    -------
    >>> with full_precision():
    ...     torch.backends.cuda.matmul.allow_tf32
    False
    """
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = False
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before
