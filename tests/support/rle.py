"""COCO's run lengths, read without the library that wrote them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sam3edge_serving.endpoint.formats.masks import Rle


def decode_rle(rle: Rle) -> npt.NDArray[np.bool_]:
    """``rleFrString`` and ``rleDecode`` of cocoapi ``common/maskApi.c``, in Python."""
    counts: list[int] = []
    p, text = 0, rle["counts"].encode()
    while p < len(text):
        x, k, more = 0, 0, True
        while more:
            c = text[p] - 48
            x |= (c & 0x1F) << 5 * k
            more = bool(c & 0x20)
            p, k = p + 1, k + 1
            if not more and c & 0x10:
                x |= -1 << 5 * k
        counts.append(x + (counts[-2] if len(counts) > 2 else 0))
    height, width = rle["size"]
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return values.reshape((height, width), order="F")
