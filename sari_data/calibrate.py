"""How hard each question is: the share of a responder's samples that answer it right.

SARI (arXiv 2504.15900) orders GRPO's questions from easy to hard by how often the base model passes
them, and drops those that it never passes: a group without one right answer teaches nothing. Here each gets either a
fixed number of samples, as there, or as many as it takes to tell its band (:mod:`sari_data.calibration.sampling`).
"""

from __future__ import annotations

import importlib.util

from sari_data.answer_cache import CachedResponder, default_cache
from sari_data.calibration.listening import FLAGS
from sari_data.calibration.measuring import Calibration, measure, progress_total
from sari_data.calibration.table import Adaptive, Calibrate, Listening
from sari_data.errors import InputError
from sari_data.prompting import load_mode
from sari_data.responder import Responder, load_responder
from sari_data.types import AudioQuestion, PassRate

__all__ = (
    "FLAGS",
    "NEVER_PASSED",
    "PASSED_UNHEARD",
    "UNANSWERED",
    "Adaptive",
    "Calibrate",
    "Calibration",
    "Listening",
    "calibrated",
    "measure",
    "missing_for_local",
    "never_passed",
    "open_calibration",
    "open_responder",
    "pick_responder",
    "progress_total",
    "side_split",
)

# The side files that questions are moved to.
NEVER_PASSED, PASSED_UNHEARD, UNANSWERED = "never_passed", "passed_unheard", "unanswered"

# What the `local` responder cannot do without.
_LOCAL_NEEDS = ("torch", "transformers")


def pick_responder(table: Calibrate) -> str | None:
    """Return the name of the responder to use, or ``None`` where the questions stay uncalibrated."""
    if table.responder == "none":
        return None
    if table.responder != "auto":
        return table.responder
    return None if missing_for_local() else "local"


def missing_for_local() -> list[str]:
    """Return the packages that the ``local`` responder needs and that are not installed."""
    return [name for name in _LOCAL_NEEDS if importlib.util.find_spec(name) is None]


def open_responder(name: str, table: Calibrate) -> Responder:
    """Load the responder ``name`` with the table's model and options.

    Raises:
        PluginError: It is not registered or fails to load.
        InputError: It does not take one of the options.
    """
    options = dict(table.options) | ({} if table.model is None else {"model": table.model})
    try:
        return load_responder(name, **options)
    except TypeError as error:
        raise InputError(
            f"responder {name!r} could not be made with the options {sorted(options)} ({error}): "
            "correct calibrate.model (--model) and calibrate.options"
        ) from error


def open_calibration(table: Calibrate) -> Responder | None:
    """Open the responder that answers the questions, so that a mode or model that is not there is told at once.

    Its answers are kept in the table's cache where they may be, so that a calibration that was stopped goes on.

    Raises:
        TemplateError: No such mode.
        SariError: As :func:`open_responder`.
    """
    load_mode(table.mode)
    name = pick_responder(table)
    if name is None:
        return None
    responder = open_responder(name, table)
    if table.cache == "" or not getattr(responder, "cacheable", True):
        return responder
    return CachedResponder(responder, table.cache or default_cache())


def calibrated(question: AudioQuestion, found: Calibration) -> AudioQuestion:
    """Return a question with what a calibration found of it.

    Pass rates of the same responder, mode and seed are replaced, others stay. The flags of the listening check are
    replaced where there was one. A question that could not be answered stays as it was.
    """
    if question.id in found.unanswered:
        return question
    rates = found.rates[question.id]
    kept = [r for r in question.pass_rates if _key(r) != _key(rates[0])]
    flags = question.flags
    if "listening" in found.summary:
        own = found.flags.get(question.id, ())
        flags = (*(flag for flag in flags if flag not in FLAGS.values()), *own)
    return question.replace(pass_rates=(*kept, *rates), flags=flags)


def side_split(question: AudioQuestion, table: Calibrate, found: Calibration | None = None) -> str | None:
    """Return the side file that a calibrated question is moved to out of ``rl``, or ``None`` where it stays.

    One that could not be answered is moved: how hard it is is not known, and what cannot be asked cannot be practised.
    """
    if found is not None and question.id in found.unanswered:
        return UNANSWERED
    if table.drop_never_passed and never_passed(question):
        return NEVER_PASSED
    if table.drop_passed_unheard and any(flag in FLAGS.values() for flag in question.flags):
        return PASSED_UNHEARD
    return None


def never_passed(question: AudioQuestion) -> bool:
    """Return whether the latest calibration with a question's own audio never saw it passed.

    Where it placed the question in a band, that band must be ``never``: two wrong answers alone do not say so.
    """
    own = [rate for rate in question.pass_rates if rate.audio == "own"]
    return bool(own) and own[-1].passes == 0 and own[-1].band in (None, "never")


def _key(rate: PassRate) -> tuple[str, str, int]:
    return rate.responder, rate.mode, rate.seed
