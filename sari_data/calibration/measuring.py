"""Measuring a collection of questions as a recipe says, and what is found: pass rates, flags and a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sari_data.calibration.asking import Questioner, Survey, survey
from sari_data.calibration.bands import band_indices
from sari_data.calibration.listening import FLAGS, Unheard, flat_beliefs, listen
from sari_data.calibration.posterior import Beliefs, Counts, Floats
from sari_data.calibration.table import Calibrate
from sari_data.errors import ResponderError
from sari_data.prompting import load_mode
from sari_data.responder import Responder
from sari_data.types import BANDS, AudioQuestion, PassRate

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration found, without the questions themselves.

    Args:
        rates: Question id to its pass rates: with its own audio, and after a listening check with ``none`` and with
            an ``other`` question's. They are made when they are asked for.
        flags: Question id to the flags of the listening check; questions without any are left out.
        summary: What the manifest, the card and the terminal say.
        unanswered: Question id to why the responder could not answer it; such a question has no pass rate.
    """

    rates: Mapping[str, tuple[PassRate, ...]]
    flags: Mapping[str, tuple[str, ...]]
    summary: dict[str, Any]
    unanswered: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Own:
    """The answers to the questions with their own audio, a row a question."""

    passes_N: Counts
    samples_N: Counts
    beliefs: Beliefs
    estimates_N: Floats | None = None
    bands_N: Counts | None = None


class Rates(Mapping[str, tuple[PassRate, ...]]):
    """Pass rates by question id, made from arrays when they are asked for; none of a question without an answer."""

    def __init__(self, known: Survey, own: Own, unheard: Mapping[str, Unheard], whose: tuple[str, str, int]) -> None:
        self._known, self._own, self._unheard, self._whose = known, own, unheard, whose

    def __getitem__(self, id_: str) -> tuple[PassRate, ...]:
        row, own = self._known.rows[id_], self._own
        if not own.samples_N[row]:
            raise KeyError(id_)
        estimate = None if own.estimates_N is None else float(own.estimates_N[row])
        band = None if own.bands_N is None else BANDS[own.bands_N[row]]
        found = [PassRate(int(own.passes_N[row]), int(own.samples_N[row]), *self._whose, "own", estimate, band)]
        for heard, answers in self._unheard.items():
            if answers.samples_N[row]:
                found.append(PassRate(int(answers.passes_N[row]), int(answers.samples_N[row]), *self._whose, heard))
        return tuple(found)

    def __iter__(self) -> Iterator[str]:
        return (id_ for id_, row in self._known.rows.items() if self._own.samples_N[row])

    def __len__(self) -> int:
        return int(np.count_nonzero(self._own.samples_N))


def measure(
    questions: Collection[AudioQuestion], responder: Responder, table: Calibrate, advance: Advance | None = None
) -> Calibration:
    """Find out how often the responder answers each question right, as the table says.

    The questions are gone through several times and not held; of each a few hundred bytes are kept. Nothing depends on
    their order but the order in which they are asked.

    Args:
        questions: What is asked; each needs its answer.
        responder: Who answers.
        table: How.
        advance: Called with the number of steps done since the last call; :func:`progress_total` says how many there
            are in all.

    Raises:
        InputError: A question without an answer, or an id that comes twice.
        ResponderError: The responder did not give each question exactly the samples asked for, or could answer none.
        TemplateError: No such mode.
    """
    from sari_data.calibration.report import describe_adaptive, describe_listening, tally_bands

    load_mode(table.mode)
    known = survey(questions)
    questioner = Questioner(questions, known, responder, table.mode, table.sampling)
    more: dict[str, Any] = {}
    if table.method == "fixed" or not len(known):
        own = ask_fixed(questioner, table.samples, advance)
        there_N = own.samples_N > 0
        histogram = count_passes(own.passes_N[there_N].tolist(), table.samples)
        samples: float = table.samples
        bands = tally_bands(band_indices(own.passes_N[there_N] / own.samples_N[there_N]))
    else:
        own, outcome = _ask_adaptively(questioner, table, advance)
        there_N = own.samples_N > 0
        bands = histogram = tally_bands(outcome.beliefs.masses()[there_N].argmax(-1))
        samples = round(float(own.samples_N[there_N].mean()), 2) if there_N.any() else 0.0
        limits = table.adaptive.model_dump(mode="json")
        more = {"adaptive": limits, **describe_adaptive(outcome, table.adaptive.confidence)}
    lost = questioner.failed["own"]
    unanswered = {id_: lost[row] for id_, row in known.rows.items() if row in lost}
    if unanswered:
        if len(unanswered) == len(known):
            raise ResponderError(
                f"responder {responder.name!r} could answer none of {len(known)} questions, the first because of: "
                f"{next(iter(unanswered.values()))}: correct its options, or name another responder"
            )
        more["unanswered"] = len(unanswered)
        more["unanswered_because"] = dict(Counter(why.partition(":")[0] for why in unanswered.values()).most_common())
    unheard: dict[str, Unheard] = {}
    for heard in FLAGS if table.listening else ():
        unheard[heard] = listen(questioner, own.beliefs, heard, table, advance)
    if unheard:
        check = table.listening_check
        more["listening"] = describe_listening(unheard, check.margin, check.confidence)
        more["listening"]["dropped"] = table.drop_passed_unheard
    flags = {
        id_: marks
        for id_, row in known.rows.items()
        if (marks := tuple(FLAGS[heard] for heard, found in unheard.items() if found.marked_N[row]))
    }
    summary = {
        "responder": responder.name,
        "mode": table.mode,
        "method": table.method,
        "samples": samples,
        "temperature": table.temperature,
        "seed": table.seed,
        "questions": int(there_N.sum()),
        "asked": int(own.samples_N.sum()),
        "mean_pass_rate": _mean(own, there_N),
        "never_passed": int(_never(own).sum()),
        "dropped_never_passed": table.drop_never_passed,
        "histogram": histogram,
        "bands": bands,
        **more,
    }
    return Calibration(Rates(known, own, unheard, (responder.name, table.mode, table.seed)), flags, summary, unanswered)


def progress_total(table: Calibrate, questions: int) -> int:
    """Return how many steps :func:`measure` tells of in all: one a question for each way in which it is heard."""
    return questions * (1 + len(FLAGS) * table.listening)


def ask_fixed(questioner: Questioner, samples: int, advance: Advance | None) -> Own:
    """Ask every question as often; raises as :meth:`Questioner.ask`."""
    samples_N = np.full(len(questioner.known), samples, dtype=np.int64)
    passes_N = questioner.ask(samples_N, np.zeros_like(samples_N), done=advance)
    samples_N[list(questioner.failed["own"])] = 0
    return Own(passes_N, samples_N, flat_beliefs(passes_N, samples_N))


def _ask_adaptively(questioner: Questioner, table: Calibrate, advance: Advance | None) -> tuple[Own, Any]:
    from sari_data.calibration.features import collect
    from sari_data.calibration.predictor import fold_of
    from sari_data.calibration.sampling import sample

    known = questioner.known
    features = collect(questioner.questions, known.rows, sound=table.adaptive.sound)
    lost = questioner.failed["own"]
    found = sample(questioner.ask, features, fold_of(known.clips, table.seed), table.adaptive, advance, lost)
    bands_N = found.beliefs.masses().argmax(-1)
    own = Own(found.passes_N, found.samples_N, found.beliefs, found.beliefs.means_N, bands_N)
    return own, found


def _never(own: Own) -> np.ndarray:
    never_N = (own.samples_N > 0) & (own.passes_N == 0)
    return never_N if own.bands_N is None else never_N & (own.bands_N == BANDS.index("never"))


def _mean(own: Own, there_N: np.ndarray) -> float | None:
    if not there_N.any():
        return None
    if own.estimates_N is None:
        return round(int(own.passes_N.sum()) / int(own.samples_N.sum()), 4)
    return round(float(own.estimates_N[there_N].mean()), 4)


def count_passes(passes: Iterable[int], samples: int) -> dict[str, int]:
    """Return the histogram: passes (as text) to the number of questions with so many."""
    counts = Counter(passes)
    return {str(number): counts[number] for number in range(samples + 1)}
