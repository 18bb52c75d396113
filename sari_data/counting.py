"""What a corpus's manifest says of its questions, counted while they pass by.

A :class:`Tally` keeps counts, never questions: its size depends on how many data sets, licences and
ways of making there are, not on how many questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sari_data.types import BANDS, DIFFICULTIES, DOMAINS, HEARD, AudioQuestion, PassRate

NOT_STATED = "not stated"
OTHERS = "others"
# A column of free text can hold as many values as there are questions; past this many they are counted together.
MOST_NAMES = 1000
_BINS = 10


class Tally:
    """Counts of the questions that were added, for the manifest.

    Args:
        splits: Splits that are to be reported even if no question comes; others follow in order of their first one.
        about: What is known of a data set by its name (``title``, ``licence``, ``share_audio``, ...); default:
            :func:`sari_data.sources.dataset_facts`.
    """

    def __init__(self, splits: Iterable[str] = (), *, about: Callable[[str], Mapping[str, Any]] | None = None) -> None:
        self._about = about
        named = tuple(splits)
        self._domains: dict[str, Counter[str]] = {split: Counter() for split in named}
        self._difficulties: dict[str, Counter[str]] = {split: Counter() for split in named}
        self._licences: Counter[str] = Counter()
        self._flags: Counter[str] = Counter()
        self._made: dict[str, Counter[str]] = {}
        self._sources: dict[str, _SourceCounts] = {}
        self._rates: dict[tuple[str, str, int, str], _RateCounts] = {}

    def add(self, split: str, question: AudioQuestion) -> None:
        """Count one question of a split; call it once for each question that is written."""
        self._domains.setdefault(split, Counter())[question.domain] += 1
        self._difficulties.setdefault(split, Counter())[question.difficulty or NOT_STATED] += 1
        source = question.provenance
        licence = source.licence or NOT_STATED
        _add(self._licences, licence)
        for flag in question.flags:
            _add(self._flags, flag)
        for name, how in source.made_by.items():
            _add(self._made.setdefault(_known(self._made, name), Counter()), how_made(how))
        dataset = _known(self._sources, source.dataset or NOT_STATED)
        counts = self._sources.setdefault(dataset, _SourceCounts())
        counts.splits[split] += 1
        _add(counts.licences, licence)
        for rate in question.pass_rates:
            key = (rate.responder, rate.mode, rate.seed, rate.audio)
            if key in self._rates or len(self._rates) < MOST_NAMES:
                self._rates.setdefault(key, _RateCounts()).add(rate)

    def counts(self) -> dict[str, dict[str, Any]]:
        """Return split to ``questions``, ``domains`` and ``difficulties``."""
        return {
            split: {
                "questions": domains.total(),
                "domains": ordered(domains, DOMAINS),
                "difficulties": ordered(self._difficulties[split], DIFFICULTIES),
            }
            for split, domains in self._domains.items()
        }

    def to_manifest(self) -> dict[str, Any]:
        """Return the manifest's entries about the questions.

        Returns:
            ``counts`` as :meth:`counts`; ``licences`` (of the audio) and ``flags``, name to questions; ``made_by``,
            field to how it was made to questions; ``sources``, data set to its questions by split, their licences,
            ``share_audio`` (``None``: not known) and what else is known of it; and ``pass_rates``, for each responder,
            mode, seed and what was heard the mean level, the bands, and how many questions lie in each tenth.
        """
        about = self._about or _default_about()
        return {
            "counts": self.counts(),
            "licences": ordered(self._licences),
            "sources": {
                name: {
                    "questions": dict(found.splits),
                    "licences": ordered(found.licences),
                    "share_audio": None,
                    **about(name),
                }
                for name, found in sorted(self._sources.items())
            },
            "made_by": {name: ordered(found) for name, found in sorted(self._made.items())},
            "flags": ordered(self._flags),
            "pass_rates": [
                {"responder": key[0], "mode": key[1], "seed": key[2], "audio": key[3], **self._rates[key].summary()}
                for key in sorted(self._rates, key=lambda k: (*k[:3], HEARD.index(k[3])))
            ],
        }


class _SourceCounts:
    def __init__(self) -> None:
        self.splits: Counter[str] = Counter()
        self.licences: Counter[str] = Counter()


class _RateCounts:
    def __init__(self) -> None:
        self.bands: Counter[str] = Counter()
        self.tenths = [0] * _BINS
        self.samples = 0
        self.level = 0.0

    def add(self, rate: PassRate) -> None:
        if rate.band is not None:
            self.bands[rate.band] += 1
        self.tenths[min(_BINS - 1, int(rate.level * _BINS))] += 1
        self.samples += rate.samples
        self.level += rate.level

    def summary(self) -> dict[str, Any]:
        number = sum(self.tenths)
        return {
            "questions": number,
            "samples": self.samples,
            "mean": round(self.level / number, 4),
            "bands": {band: self.bands[band] for band in BANDS} if self.bands else {},
            "tenths": list(self.tenths),
        }


def count(questions: Iterable[AudioQuestion]) -> dict[str, Any]:
    """Count questions by domain and by difficulty, as :meth:`Tally.counts` does for one split."""
    tally = Tally(("all",))
    for question in questions:
        tally.add("all", question)
    found: dict[str, Any] = tally.counts()["all"]
    return found


def how_made(how: str) -> str:
    """Return how a field was made, of a rule or a source's template without its own name after the last ``/``.

    What a model made is told whole: the slash in ``Qwen/Qwen2.5-7B`` is part of its name.
    """
    return how.rpartition("/")[0] if how.startswith(("rule:", "template:")) and "/" in how else how


def ordered(found: Mapping[str, int], order: Sequence[str] = ()) -> dict[str, int]:
    """Return counts with the names of ``order`` first and the others after them by name."""
    return {key: found[key] for key in sorted(found, key=lambda k: (order.index(k) if k in order else len(order), k))}


def _known(found: Mapping[str, Any], name: str) -> str:
    return name if name in found or len(found) < MOST_NAMES else OTHERS


def _add(found: Counter[str], name: str) -> None:
    found[_known(found, name)] += 1


def _default_about() -> Callable[[str], Mapping[str, Any]]:
    from sari_data.sources import dataset_facts

    return dataset_facts
