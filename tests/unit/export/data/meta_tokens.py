"""Write ``meta_tokens.npz``: what Meta's tokenizer makes of 10,000 odd phrases.

    PYTHONPATH=tests python tests/unit/export/data/meta_tokens.py

It runs where Meta's package ``sam3`` 0.1.4 is importable. Per phrase a checksum of its ids is kept, and one of the
phrase itself, so that a test can say that it asked the same.
"""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np

from sam3edge_export.sam3.tokenizer import CONTEXT_LENGTH, vocabulary_path
from support.odd_phrases import odd_phrases

TARGET = Path(__file__).with_suffix(".npz")
COUNT = 10_000


if __name__ == "__main__":
    from sam3.model.tokenizer_ve import SimpleTokenizer

    phrases = odd_phrases(COUNT)
    ids = SimpleTokenizer(bpe_path=str(vocabulary_path()))(phrases, context_length=CONTEXT_LENGTH).numpy()
    np.savez_compressed(
        TARGET,
        phrases=np.array([crc32(phrase.encode("utf-8")) for phrase in phrases], np.uint32),
        ids=np.array([crc32(row.astype("<u2").tobytes()) for row in ids], np.uint32),
        lengths=np.array([(row != 0).sum() for row in ids], np.uint8),
    )
