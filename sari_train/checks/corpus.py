"""The checks of ``preflight`` on the corpus: questions, answer keys, clips, splits, pass rates. No model is run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from sari_data.audio import probe
from sari_data.errors import InputError
from sari_data.store import SPLITS, iter_split, read_manifest
from sari_data.types import AudioQuestion
from sari_train.checks.setting import ClipKey, Setting, Verdict, named
from sari_train.curriculum import pass_rate
from sari_train.pass_rates import check_named, lessons

# Share of the chains that may disagree with the answer key before it is a failure: annotators err now and then.
CHAINS_MAY_DISAGREE = 0.01
# Share of the right answers that stand in one place from which it is told, given enough questions to say so.
ONE_PLACE, ENOUGH = 0.8, 20
# Share of questions without a lesson from which it is told.
NO_LESSON = 0.1
# Dev questions whose audio is compared with the training split's: before a training, and by the command.
FEW_DEV, MOST_DEV = 500, 20_000

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
# A number with its sign and marks is one word; so is a note with its accidental.
_WORD = re.compile(r"(?<!\w)-?\d+(?:[.,:]\d+)*|[\w#♯♭+]+")


def check_questions(setting: Setting) -> Verdict:
    """Find questions that cannot be learned from or graded.

    Faults: no answer; options that are the same but for case and marks; the same clip, question and options
    with another answer; right answers that nearly all stand in one place.
    """
    read = setting.read
    withheld = [q for q in read if q.answer is None]
    if withheld:
        return Verdict(
            "fail",
            f"{len(withheld)} of {len(read)} questions have no answer",
            "an answer for every question of the training split",
            f"none for {named(withheld)}",
            "leave them out of the corpus, or name another split",
        )
    asked: dict[object, AudioQuestion] = {}
    for q in read:
        first = asked.setdefault((ClipKey(q.audio), q.question, frozenset(q.choices)), q)
        if first.answer != q.answer:
            return Verdict(
                "fail",
                f"{len(read)} questions read; two of them contradict each other",
                f"one answer to {q.question!r} about one clip",
                f"{first.answer!r} in question {first.id} and {q.answer!r} in {q.id}",
                "correct the answer key, or drop one of the two",
            )
    alike = [q for q in read if len({_words(c) or (c,) for c in q.choices}) < len(q.choices)]
    places = Counter(q.choices.index(str(q.answer)) for q in read)
    place, most = places.most_common(1)[0]
    measured = (
        f"{len(read)} of {len(setting.questions)} read; {most / len(read):.0%} of the answers at {_letter(place)}"
    )
    if alike:
        return Verdict(
            "warning",
            measured,
            "options that differ by more than case and marks",
            f"{len(alike)} questions with options that are the same: {named(alike)}",
            "write other options, or drop them",
        )
    if most > ONE_PLACE * len(read) and len(read) >= ENOUGH:
        return Verdict(
            "warning",
            measured,
            "right answers in every place",
            f"{most} of {len(read)} at {_letter(place)}: a model learns the place and need not listen",
            "shuffle the options when the corpus is built",
        )
    return Verdict("ok", measured)


def check_keys(setting: Setting) -> Verdict:
    """Find wrong answer keys: chains whose conclusion names an option, but not the one that the key gives.

    The conclusion is a structured chain's summary, else the last sentence of an unstructured one. It *names* an option
    where the option's words stand in it one after another (case and marks aside, and not inside a longer option). A
    conclusion that names the right option among others agrees; one that names none says nothing. A key that
    is wrong where there is no chain, or where key and chain are wrong together, cannot be found so.
    """
    concluding, wrong = 0, []
    for q in setting.read:
        conclusion = _conclusion(q)
        said = named_options(conclusion, q.choices) if conclusion and q.answer is not None else set()
        concluding += bool(said)
        if said and _words(str(q.answer)) not in {_words(c) for c in said}:
            wrong.append((q, sorted(said)))
    if not concluding:
        return Verdict("skipped", "no chain's conclusion names an option")
    measured = f"{concluding - len(wrong)} of {concluding} chains that name an option end with the answer"
    if not wrong:
        return Verdict("ok", measured)
    q, names = wrong[0]
    return Verdict(
        "fail" if len(wrong) > CHAINS_MAY_DISAGREE * concluding else "warning",
        measured,
        f"the answer of question {q.id} to be what its chain ends with, {' or '.join(map(repr, names))}",
        f"{q.answer!r}; {len(wrong)} such questions: {named([q for q, _ in wrong])}",
        "correct the answer or the chain, or drop the questions",
    )


def check_audio_lengths(setting: Setting) -> Verdict:
    """Find clips that are longer than the model hears, and what ``long_audio`` will do with them.

    The lengths are read from the files' headers. ``error`` would stop the run at the first: a failure. ``truncate`` is
    a warning with what is lost, ``split`` a note.
    """
    limit = setting.lm.max_seconds
    seconds = [clip_seconds(q) for q in setting.read]
    beyond = [length - limit for length in seconds if length > limit + 1 / setting.lm.sampling_rate]
    measured = f"clips of {min(seconds):.3g} to {max(seconds):.3g} s; the model hears {limit:g} s"
    if not beyond:
        return Verdict("ok", measured)
    count = f"{len(beyond)} of {len(seconds)} clips are longer"
    if setting.table.long_audio == "split":
        return Verdict("ok", f"{measured}; {count} and are split")
    expected = f"clips of at most {limit:g} s"
    if setting.table.long_audio == "truncate":
        lost = f"{count}; {sum(beyond):.1f} s, {sum(beyond) / sum(seconds):.0%} of the audio, are never heard"
        return Verdict("warning", measured, expected, lost, "set long_audio to split, or ask about the beginning only")
    return Verdict("fail", measured, expected, count, "set long_audio to split or truncate, or cut the clips")


def check_splits(setting: Setting) -> Verdict:
    """Find questions that are in more than one split.

    A dev question that is trained on (the same id, or the same question about the same clip) makes dev accuracy a
    measure of memory: a failure. The same clip with other questions, and ids that SFT and GRPO share, are warnings.
    """
    folder, own = setting.table.corpus, getattr(setting.table, "split", "")
    if not Path(folder).is_dir():
        return Verdict("skipped", f"there is no corpus folder {folder} to read the other splits from")
    counts = Counter(q.id for q in setting.questions)
    asked: dict[ClipKey, set[str]] = {}
    for q in setting.questions:
        asked.setdefault(ClipKey(q.audio), set()).add(q.question)
    rows = {split: body["rows"] for split, body in read_manifest(folder)["splits"].items()}
    others = [split for split in SPLITS if split != own and rows.get(split)]
    measured = f"{len(counts)} ids of {own} against " + (
        ", ".join(f"{rows[s]} of {s}" for s in others) or "no other split"
    )
    expected, remedy = "splits that share nothing", "build the corpus again, or drop the rows from one split"
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        return Verdict("fail", measured, "an id of its own for each question", f"{', '.join(twice[:3])} twice", remedy)
    heard = 0
    for q in islice(iter_split(folder, "dev"), FEW_DEV if setting.quick else MOST_DEV) if "dev" in others else ():
        questions = asked.get(ClipKey(q.audio), set())
        if q.id in counts or q.question in questions:
            return Verdict("fail", measured, expected, f"dev question {q.id} is in {own} too", remedy)
        heard += bool(questions)
    if heard:
        return Verdict("warning", measured, expected, f"clips of {heard} dev questions are in {own} too", remedy)
    shared = [name for split in others for name in split_ids(folder, split) if name in counts]
    if shared:
        return Verdict("warning", measured, expected, f"{len(shared)} ids of {own} are in another split too", remedy)
    return Verdict("ok", measured)


def check_lessons(setting: Setting) -> Verdict:
    """Find questions that can teach GRPO nothing: those that the calibrated model always or never got right.

    A group whose samples all earn the same has no advantage. That is told, not refused: the rates are those of the
    calibrated model, not of the one that learns. A curriculum by difficulty without pass rates is a failure.
    """
    if setting.grpo is None:
        return Verdict("skipped", "SFT needs no pass rates")
    named = setting.grpo.calibration
    try:
        check_named(setting.questions, named)
    except InputError as error:
        return Verdict("fail", str(error), "pass rates of the named calibration", "none", "name one that is there")
    rates = [pass_rate(q, setting.mode, named) for q in setting.questions]
    known = [rate for rate in rates if rate is not None]
    if len(known) < len(rates) and setting.grpo.curriculum not in ("random", "adaptive"):
        return Verdict(
            "fail",
            f"{len(known)} of {len(rates)} questions have a pass rate",
            f"one for each: the curriculum is {setting.grpo.curriculum}",
            f"none for {len(rates) - len(known)}",
            "run `sari-data calibrate` on the corpus, or set grpo.curriculum to random",
        )
    if not known:
        return Verdict("skipped", "no question has a pass rate")
    kinds = [lessons(q, setting.mode, named) for q in setting.questions]
    never, always = kinds.count("never"), kinds.count("always")
    measured = f"{len(known)} pass rates, mean {sum(known) / len(known):.0%}; {never} never pass, {always} always"
    if never + always < NO_LESSON * len(known):
        return Verdict("ok", measured)
    return Verdict(
        "warning",
        measured,
        f"less than {NO_LESSON:.0%} of questions that always or never pass",
        f"{(never + always) / len(known):.0%}: groups that are expected to teach nothing",
        "leave them out when the corpus is built, calibrate with the model that starts, or set grpo.dynamic_sampling",
    )


# -- helpers --------------------------------------------------------------------------------------------------------


def clip_seconds(question: AudioQuestion) -> float:
    """Return the length of a question's clip in seconds, by the file's header.

    Raises:
        AudioError: It is not audio.
    """
    audio = question.audio
    rest = max(0.0, probe(audio).seconds - audio.start)
    return rest if audio.duration is None else min(rest, audio.duration)


def split_ids(folder: str, split: str) -> list[str]:
    """Return the ids of a split's questions; nothing else of them is read.

    Raises:
        CorpusError: The folder is no complete corpus.
    """
    import pyarrow.parquet as pq

    files = [entry["path"] for entry in read_manifest(folder)["files"] if entry["split"] == split]
    return [name for path in files for name in pq.read_table(Path(folder) / path, columns=["id"])["id"].to_pylist()]


def named_options(text: str, choices: Sequence[str]) -> set[str]:
    """Return the options whose words stand in ``text`` one after another, but for those inside a longer one."""
    spans = []
    words = _words(text)
    for choice in choices:
        own = _words(choice)
        starts = range(len(words) - len(own) + 1) if own else ()
        spans += [(i, i + len(own), choice) for i in starts if words[i : i + len(own)] == own]
    return {c for a, b, c in spans if not any(x <= a and b <= y and y - x > b - a for x, y, _ in spans)}


def _conclusion(question: AudioQuestion) -> str:
    chains = question.reasoning
    if chains.structured is not None:
        return chains.structured.summary
    return _SENTENCE.split((chains.unstructured or "").strip())[-1]


def _words(text: str) -> tuple[str, ...]:
    # One letter keeps its case: the note A is no article.
    return tuple(w if len(w) == 1 else w.casefold() for w in _WORD.findall(text))


def _letter(place: int) -> str:
    return f"({chr(ord('A') + place)})" if place < 26 else f"place {place + 1}"
