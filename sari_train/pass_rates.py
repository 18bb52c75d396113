"""Which of a question's pass rates count, and what they say together.

A question may have been calibrated by several responders, in several modes and with several seeds. Only answers that
heard the question's own audio say how hard it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sari_data.errors import InputError
from sari_data.types import AudioQuestion, PassRate
from sari_train.config import CalibrationName

# How many of the calibrations that are there a message names.
_NAMED = 8


def counting(question: AudioQuestion, mode: str, named: CalibrationName | None = None) -> list[PassRate]:
    """Return the pass rates that count: of the named calibration, else those in ``mode``, else all.

    Those with no audio or another question's never do.
    """
    own = [rate for rate in question.pass_rates if rate.audio == "own"]
    if named is not None:
        return [rate for rate in own if fits(rate, named)]
    return [rate for rate in own if rate.mode == mode] or own


def fits(rate: PassRate, named: CalibrationName) -> bool:
    """Return whether a pass rate is of the named calibration; a responder may be named without its revision."""
    return (
        named.responder in (None, rate.responder, rate.responder.rpartition("@")[0])
        and named.mode in (None, rate.mode)
        and named.seed in (None, rate.seed)
    )


def evidence(question: AudioQuestion, mode: str, named: CalibrationName | None = None) -> tuple[float, int]:
    """Return right answers and answers over all that count; (0, 0) where none does.

    Where a pass rate has an estimate, its right answers are as many as that estimate expects.
    """
    found = counting(question, mode, named)
    passes = sum(r.passes if r.estimate is None else r.estimate * r.samples for r in found)
    return passes, sum(r.samples for r in found)


def lessons(question: AudioQuestion, mode: str, named: CalibrationName | None = None) -> str | None:
    """Return ``never`` or ``always`` where no answer that counts was right or wrong, ``some`` otherwise.

    ``None`` where there is no answer at all. A band speaks for its pass rate: a few answers alone say little.
    """
    found = counting(question, mode, named)
    if not found:
        return None
    if all(r.passes == 0 and r.band in (None, "never") for r in found):
        return "never"
    return "always" if all(r.passes == r.samples and r.band in (None, "always") for r in found) else "some"


def check_named(questions: Iterable[AudioQuestion], named: CalibrationName | None) -> None:
    """Check that every question has a pass rate of the named calibration.

    Raises:
        InputError: Some have none; it names the calibrations that are there.
    """
    if named is None:
        return
    lacking, count = 0, 0
    there: Counter[tuple[str, str, int]] = Counter()
    for question in questions:
        count += 1
        lacking += not counting(question, "", named)
        there.update({(r.responder, r.mode, r.seed) for r in question.pass_rates if r.audio == "own"})
    if lacking:
        raise InputError(
            f"grpo.calibration names pass rates with {_described(named)}, but {lacking} of {count} questions have none "
            f"such; found {_listed(sorted(there.items()))}: name one that is there, or run `sari-data calibrate`"
        )


def _described(named: CalibrationName) -> str:
    given = named.model_dump(exclude_none=True)
    return ", ".join(f"{key} {value!r}" for key, value in given.items())


def _listed(found: Sequence[tuple[tuple[str, str, int], int]]) -> str:
    if not found:
        return "no pass rates at all"
    names = [f"{r!r} in mode {m!r} with seed {s} ({count} questions)" for (r, m, s), count in found[:_NAMED]]
    return ", ".join(names) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
