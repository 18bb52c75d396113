"""The five bands of difficulty, by the probability p that an answer is right.

========  ==================  =============================
band      probability         right answers of a fixed k = 8
========  ==================  =============================
never     p < 1/16            0
hard      1/16 <= p < 1/3     1, 2
medium    1/3 <= p < 2/3      3, 4, 5
easy      2/3 <= p < 15/16    6, 7
always    15/16 <= p          8
========  ==================  =============================

1/3 and 2/3 are where the trainer's curriculum parts hard, medium and easy. 1/16 and 15/16 lie halfway between what
eight answers can say: the share of eight that is nearest to p is 0 below 1/16 and 1 above 15/16. So the band of a
share of eight right answers is what a fixed k = 8 calls the question, and the band of p itself is what it ought to be
called.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

EDGES = (1 / 16, 1 / 3, 2 / 3, 15 / 16)


def band_indices(levels: ArrayLike) -> NDArray[np.int64]:
    """Return the index into BANDS of each probability in [0, 1]; an edge belongs to the band above it."""
    return np.searchsorted(np.asarray(EDGES), np.asarray(levels, dtype=np.float64), side="right").astype(np.int64)
