"""Questions: a language model writes them, with options, from what is known of a clip.

SARI (arXiv 2504.15900) had Qwen2.5-72B write four options to a question from caption and labels. Language
models put the right option first and make it the longest; so its place is dealt here, and the rest is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sari_data.annotation.asking import OpenAsker, Stage, Tally, ask_window, task_windows
from sari_data.annotation.config import Annotate
from sari_data.annotation.question_checks import (
    REPEATED,
    check_audible,
    check_gold,
    check_options,
    check_wording,
    visible_facts,
)
from sari_data.annotation.reading import (
    WRONG_SHAPE,
    WRONG_TYPE,
    Rejected,
    describe_type,
    find_objects,
    plain_text,
    reject_all,
    take_text,
)
from sari_data.options import Options, loose_form
from sari_data.prompting import render
from sari_data.sources.base import Clip, SetAside
from sari_data.sources.rules import options_for
from sari_data.types import DIFFICULTIES, AudioQuestion, AudioRef, Provenance, make_id

TEMPLATE = "clip_questions"
WRONG_ANSWER = "the answer is not one of the options"
NO_SKILL = "the skill is none of those asked for"
TOO_FEW = "fewer questions than asked for"
NOTHING_KNOWN = "nothing is known of the clip"

_MOST_QUESTION, _MOST_OPTION = 500, 200  # characters
_LABELLED = re.compile(r"[(\[]?([A-Za-z]|\d)[)\].:]\s+(?=\S)")


@dataclass(frozen=True, slots=True)
class Draft:
    """A question as it was written and checked; the right option's place is not dealt yet."""

    question: str
    options: tuple[str, ...]
    gold: str
    skill: str
    difficulty: str | None


class Questions(Stage[Clip, tuple[Draft, ...]]):
    """The stage that asks for questions; those of an answer that are good are kept while the others are asked again."""

    name = "question"
    items = "clip"

    def __init__(self, asker: OpenAsker, table: Annotate) -> None:
        self._asker, self._table = asker, table

    def key(self, item: Clip) -> str:
        """Return the clip's id."""
        return item.id

    def provenance(self, item: Clip) -> Provenance:
        """Return where the clip is from."""
        return item.provenance

    def audio(self, item: Clip) -> AudioRef | None:
        """Return the clip's audio, where the writer is to listen."""
        return item.audio if self._asker.listen else None

    def prompt(self, item: Clip, kept: Any) -> str:
        """Return the prompt: what may be told of the clip, what is wanted, and which questions there are already."""
        table = self._table
        done: tuple[Draft, ...] = kept or ()
        facts = {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in visible_facts(item, table.hidden_facts).items()
        }
        return render(
            f"annotate/{TEMPLATE}.jinja",
            domains=item.domain.split("+"),
            caption=item.caption,
            labels=item.labels,
            facts=facts,
            listen=self._asker.listen,
            count=table.questions_per_clip - len(done),
            options=table.options_per_question,
            skills=table.skills_for(item.domain),
            difficulty=table.difficulty,
            language=table.language,
            done=[draft.question for draft in done],
        )

    def read(self, item: Clip, kept: Any, text: str) -> tuple[Draft, ...]:
        """Return the questions of this answer and the good ones of those before."""
        found: list[Draft] = list(kept or ())
        wanted = self._table.questions_per_clip
        problems: list[tuple[str, str]] = []
        objects = _unpack(find_objects(text))
        for number, values in enumerate(objects, start=1):
            if len(found) == wanted:
                break  # More than were asked for: the first ones count.
            where = f"Question {number}: " if len(objects) > 1 else ""
            try:
                draft = read_question(values, item, self._table, where)
                if loose_form(draft.question) in {loose_form(d.question) for d in found}:
                    raise Rejected(REPEATED, f"{where}The question {draft.question!r} is there already: write another.")
            except Rejected as rejected:
                problems.append((rejected.reason, rejected.complaint))
            else:
                found.append(draft)
        if len(found) < wanted:
            problems.append((TOO_FEW, f"{wanted - len(found)} more good question(s) are wanted."))
            reject_all(problems, tuple(found))
        return tuple(found)

    def settle(self, item: Clip, kept: Any) -> tuple[Draft, ...] | None:
        """Return the good questions, where there is one at least."""
        return kept or None


def write_questions(
    clips: Iterable[Clip], asker: OpenAsker, table: Annotate, *, tally: Tally | None = None
) -> Iterator[tuple[str, list[AudioQuestion] | SetAside]]:
    """Have questions written about clips.

    Args:
        clips: What to ask about; taken in windows, in the caller's thread. The writer is told caption, labels, and the
            facts that are not hidden.
        asker: Who writes; its seed deals the options.
        table: What is asked for.
        tally: What was done is counted there; ``short`` counts questions that no valid answer was found for.

    Yields:
        The id of every clip, once and in any order, with its questions in the order in which they were written (fewer
        than asked for, where no more came out right), or why there is none.

    Raises:
        InputError: An id comes twice.
        ResponderError: The responder answered what it was not asked, or left something out without saying why.
    """
    stage, counts = Questions(asker, table), tally or Tally()
    made_by = asker.made_by(TEMPLATE)
    for window in task_windows(clips, stage.key, stage.items):
        todo = []
        for task in window:
            if asker.listen or task.item.caption or task.item.labels or visible_facts(task.item, table.hidden_facts):
                todo.append(task)
            else:
                counts.set_aside += 1
                yield task.id, _unknown(task.item)
        held = {task.id: task.item for task in todo}
        for id_, drafts in ask_window(todo, stage, asker, counts):
            if isinstance(drafts, SetAside):
                yield id_, drafts
                continue
            counts.short += table.questions_per_clip - len(drafts)
            yield id_, [finish_question(d, held[id_], made_by, asker.sampling.seed) for d in drafts]


def read_question(values: dict[str, Any], clip: Clip, table: Annotate, where: str = "") -> Draft:
    """Return the question that a JSON object describes.

    Raises:
        Rejected: It is none, or one of the checks finds fault with it; all faults are told together.
    """
    question = take_text(values, "question", where, most=_MOST_QUESTION)
    options = _read_options(values, table.options_per_question, where)
    answer = take_text(values, "answer", where, most=_MOST_OPTION)
    problems = list(check_options(options))
    index, why = (None, None) if problems else Options(options).match(answer)
    if index is not None:
        problems += check_gold(question, options, options[index])
    elif why is not None:
        problems.append((WRONG_ANSWER, f'"answer" must be the text of one option; {answer!r} is not ({why}).'))
    problems += check_wording(question, options)
    problems += check_audible(question, options, clip, table.hidden_facts)
    skill = difficulty = None
    try:
        skill = _one_of(values, "skill", table.skills_for(clip.domain), where)
        difficulty = _one_of(values, "difficulty", DIFFICULTIES, where) if table.difficulty else None
    except Rejected as rejected:
        problems.append((rejected.reason, rejected.complaint))
    reject_all(
        (reason, complaint if complaint.startswith(where) else where + complaint) for reason, complaint in problems
    )
    assert index is not None, "else there was a problem"
    assert skill is not None, "else there was a problem"
    return Draft(question, tuple(options), options[index], skill, difficulty)


def finish_question(draft: Draft, clip: Clip, made_by: str, seed: int) -> AudioQuestion:
    """Return a question about a clip, its options dealt by the seed, the clip and the question's text."""
    wrong = [option for option in draft.options if option != draft.gold]
    choices, gold = options_for(draft.gold, wrong, len(draft.options), seed, f"{clip.id}/{draft.question}")
    fields = {**clip.provenance.made_by, **dict.fromkeys(("question", "choices", "answer"), made_by)}
    if draft.difficulty is not None:
        fields["difficulty"] = made_by
    return AudioQuestion(
        id=make_id(clip.audio, draft.question, choices),
        audio=clip.audio,
        question=draft.question,
        choices=choices,
        answer=gold,
        domain=clip.domain,
        category=clip.category,
        sub_category=draft.skill,
        difficulty=draft.difficulty,
        caption=clip.caption,
        provenance=replace(clip.provenance, made_by=fields),
    )


def _unpack(objects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Open ``{"questions": [...]}``, which many models write where a list was asked for."""
    found: list[dict[str, Any]] = []
    for values in objects:
        inner = values.get("questions") if "question" not in values else None
        if inner is None:
            found.append(values)
        elif isinstance(inner, list) and all(isinstance(item, dict) for item in inner):
            found += inner
        else:
            raise Rejected(WRONG_TYPE, f'"questions" must be a list of objects; found {describe_type(inner)}.')
    return found


def _read_options(values: dict[str, Any], wanted: int, where: str) -> list[str]:
    if "options" not in values:
        raise Rejected(WRONG_SHAPE, f'{where}the key "options" is missing; found the keys {sorted(map(str, values))}.')
    options = values["options"]
    if not isinstance(options, list):
        raise Rejected(WRONG_TYPE, f'{where}"options" must be a list of texts; found {describe_type(options)}.')
    if len(options) != wanted:
        raise Rejected(WRONG_SHAPE, f'{where}"options" must have {wanted} texts; found {len(options)}.')
    texts = [plain_text(option, f"{where}option {n}", most=_MOST_OPTION) for n, option in enumerate(options, start=1)]
    # Letters or numbers of the model's own, in order, are no part of the options: theirs will be others.
    labels = [_LABELLED.match(text) for text in texts]
    own = "".join(label[1].upper() for label in labels if label)
    if own in ("ABCDEFGHIJ"[:wanted], "1234567890"[:wanted]):
        texts = [text[label.end() :] for text, label in zip(texts, labels, strict=True) if label]
    return texts


def _one_of(values: dict[str, Any], key: str, known: Sequence[str], where: str) -> str:
    text = take_text(values, key, where, most=_MOST_OPTION)
    for name in known:
        if loose_form(name) == loose_form(text):
            return name
    raise Rejected(NO_SKILL, f'{where}"{key}" must be one of {", ".join(known)}; found {text!r}.')


def _unknown(clip: Clip) -> SetAside:
    return SetAside(
        stage=Questions.name,
        reason=NOTHING_KNOWN,
        id=clip.id,
        provenance=clip.provenance,
        detail="it has no caption, no labels and no facts that may be told: caption it, or let the writer listen",
    )
