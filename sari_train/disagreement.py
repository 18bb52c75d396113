"""Where a group is expected to disagree: what the ``adaptive`` curriculum believes and how it draws.

A group whose samples all pass or all fail teaches nothing (its advantages are 0). With p the chance that a sample
passes, a group of G disagrees with probability 1 - p^G - (1 - p)^G. p is not known; the belief about it is a beta
distribution on Jeffreys' prior, which expects that many questions are always or never passed,

    p ~ Beta(1/2 + a, 1/2 + b)        E[p^G] = prod_{k < G} (1/2 + a + k) / (1 + a + b + k)

so that the expected chance of disagreement is known in closed form. a and b begin as the calibration's passes and
failures, held to as many samples as one group has. Every group that is recorded halves them before it adds its own:
the policy moves, and what it could do some visits ago counts less and less.

Questions are drawn without replacement with weights

    w_i = (1 - EXPLORE) u_i / sum u + EXPLORE / n        u_i the expected chance of disagreement

A question of which nothing is known has a wide belief and therefore a fair u (0.61 for G = 8; one that is passed
half the time comes to 0.97, one that was always or never passed to 0.2); the second term brings back, now and then,
one that was believed to be too easy or too hard, since the policy may have changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What remains of the evidence when a question's next group is recorded.
KEEP = 0.5
# Share of the draws that go to all questions alike.
EXPLORE = 0.1


class Beliefs:
    """What is known of each question's chance to pass, and draws by it.

    Args:
        calibrations: (passes, samples) of each question; (0, 0) where it was not calibrated.
        group_size: Samples of a group.
        seed: Of the run.
    """

    def __init__(self, calibrations: Sequence[tuple[float, int]], *, group_size: int, seed: int) -> None:
        assert group_size > 1, "one sample cannot disagree with itself"
        self._group_size, self._seed = group_size, seed
        counts_N2 = np.array([(passes, samples - passes) for passes, samples in calibrations], dtype=np.float64)
        samples_N1 = counts_N2.sum(-1, keepdims=True)
        self._first_N2: NDArray[np.float64] = counts_N2 * np.minimum(1, group_size / np.maximum(samples_N1, 1))
        self._counts_N2 = self._first_N2.copy()
        self._takes = 0
        self._recorded: set[int] = set()

    def chances(self) -> NDArray[np.float64]:
        """Return for each question [N] the expected chance that its group disagrees."""
        return expected_disagreement(self._counts_N2, self._group_size)

    def take(self, n: int) -> list[int]:
        """Draw ``n`` questions, none twice unless there are fewer than that; then all come before one returns."""
        rng = np.random.default_rng([self._seed, 0xAD, self._takes])
        self._takes += 1
        chances_N = self.chances()
        log_weights_N = np.log((1 - EXPLORE) * chances_N / chances_N.sum() + EXPLORE / len(chances_N))
        taken: list[int] = []
        while len(taken) < n:
            # The largest of log-weights plus Gumbel noise are a weighted draw without replacement.
            keys_N = log_weights_N + rng.gumbel(size=len(chances_N))
            taken += [int(i) for i in np.argsort(-keys_N, kind="stable")[: n - len(taken)]]
        return taken

    def record(self, index: int, passes: int, samples: int) -> None:
        """Add the result of one group."""
        self._counts_N2[index] = KEEP * self._counts_N2[index] + (passes, samples - passes)
        self._recorded.add(index)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of takes, and the evidence of the questions that were recorded: [index, a, b]."""
        return {"takes": self._takes, "evidence": [[i, *self._counts_N2[i].tolist()] for i in sorted(self._recorded)]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of an object that was made with the same arguments."""
        self._takes = int(state["takes"])
        self._counts_N2, self._recorded = self._first_N2.copy(), set()
        for index, passes, failures in state["evidence"]:
            self._counts_N2[index] = passes, failures
            self._recorded.add(int(index))


def expected_disagreement(counts_N2: NDArray[np.float64], group_size: int) -> NDArray[np.float64]:
    """Return E[1 - p^G - (1 - p)^G] for p ~ Beta(1/2 + a, 1/2 + b), for rows (a, b) of ``counts_N2``."""
    steps_G = np.arange(group_size)
    total_NG = 1 + counts_N2.sum(-1, keepdims=True) + steps_G
    all_pass_N, all_fail_N = (((0.5 + counts_N2[:, [side]] + steps_G) / total_NG).prod(-1) for side in (0, 1))
    chances_N: NDArray[np.float64] = 1 - all_pass_N - all_fail_N
    return chances_N
