"""A question made by rule, put into words by the source's templates, with both chains of thought.

A rule decides what is true and what is false; this module picks the options, and renders
``templates/annotate/<source>/<rule>.jinja``: lines ``question:``, ``planning:``, ``caption:``, ``reasoning:`` and
``summary:``, in any order. The free thought is ``templates/annotate/rules/thought.jinja``. Which of several wordings is
taken follows from seed and clip alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from sari_data.errors import TemplateError
from sari_data.sources.files import seeded_hash
from sari_data.sources.rules import options_for
from sari_data.types import AudioQuestion, AudioRef, Provenance, Reasoning, StructuredReasoning, make_id

T = TypeVar("T")
NO_RULE = "no rule fits the clip"  # reason under which a clip is set aside where only questions by rule are made
_LINES = ("question", "planning", "caption", "reasoning", "summary")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a rule has decided, before it is put into words.

    Args:
        rule: Name of the rule and of its template.
        answer: The right option.
        wrong: Wrong options; no more than are to be shown.
        values: What the template may use beside ``answer``, ``choices``, ``wrong`` and ``pick``.
        category: As of :class:`~sari_data.types.AudioQuestion`.
        sub_category: As of :class:`~sari_data.types.AudioQuestion`.
    """

    rule: str
    answer: str
    wrong: Sequence[str]
    values: Mapping[str, Any] = field(default_factory=dict)
    category: str = ""
    sub_category: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a rule asks nothing of a clip, in a few words."""

    why: str


def choose_drafts(results: Mapping[Any, Draft | Refused], most: int, seed: int, id: str) -> tuple[list[Draft], str]:
    """Return up to ``most`` of the drafts that rules gave, in the rules' order, and why the other rules gave none.

    Args:
        results: Rule to what it gave.
        most: Most drafts.
        seed: Decides which are taken.
        id: The clip.
    """
    drafts = [result for result in results.values() if isinstance(result, Draft)]
    ranked = sorted(drafts, key=lambda draft: seeded_hash(seed, f"{id}/{draft.rule}/which"))
    refused = [f"{name}: {r.why}" for name, r in results.items() if isinstance(r, Refused)]
    return [draft for draft in drafts if draft in ranked[:most]], "; ".join(refused)


def pick_apart(
    gold: T, candidates: Iterable[T], count: int, clash: Callable[[T, T], bool], seed: int, id: str
) -> list[T]:
    """Return up to ``count`` candidates, no two of which clash with each other or with ``gold``.

    Clashing is looked at among all pairs and not with ``gold`` alone: else the right option would be the one that
    stands apart from the others, and could be told without listening. Candidates are tried in an order that seed
    and id decide, four times anew where too few fit together.
    """
    everyone = list(candidates)
    best: list[T] = []
    for turn in range(4):
        chosen: list[T] = []
        for one in sorted(everyone, key=lambda one: seeded_hash(seed, f"{id}/{turn}/{one}")):
            if len(chosen) < count and not any(clash(one, other) for other in (gold, *chosen)):
                chosen.append(one)
        if len(chosen) > len(best):
            best = chosen
        if len(best) == count:
            break
    return best


def write(
    draft: Draft, source: str, audio: AudioRef, domain: str, provenance: Provenance, caption_by: str, seed: int
) -> AudioQuestion:
    """Put a draft into words.

    Args:
        draft: What is asked.
        source: The source's name, and that of its folder of templates.
        audio: The clip.
        domain: Its domain.
        provenance: Where it is from; ``made_by`` is filled in here.
        caption_by: How the caption is made, for the provenance.
        seed: Decides the options' order and the wording.

    Raises:
        InputError: Two options are the same.
        TemplateError: The template is wrong.
    """
    from sari_data.prompting import render

    id = f"{source}/{provenance.source_id}/{draft.rule}"
    choices, answer = options_for(draft.answer, draft.wrong, len(draft.wrong) + 1, seed, id)
    count = 0

    def pick(*wordings: str) -> str:
        nonlocal count
        count += 1
        return wordings[seeded_hash(seed, f"{id}/wording/{count}") % len(wordings)]

    wrong = [choice for choice in choices if choice != answer]
    values = {**draft.values, "answer": answer, "choices": choices, "wrong": wrong, "pick": pick}
    template = f"annotate/{source}/{draft.rule}.jinja"
    lines = _read_lines(render(template, **values), template)
    thought = render("annotate/rules/thought.jinja", pick=pick, **lines)
    made = f"rule:{source}/{draft.rule}"
    made_by = {**dict.fromkeys(("question", "choices", "answer", "reasoning"), made), "caption": caption_by}
    return AudioQuestion(
        id=make_id(audio, lines["question"], choices),
        audio=audio,
        question=lines["question"],
        choices=choices,
        answer=answer,
        domain=domain,
        category=draft.category,
        sub_category=draft.sub_category,
        caption=lines["caption"],
        reasoning=Reasoning(
            structured=StructuredReasoning(**{name: lines[name] for name in _LINES if name != "question"}),
            unstructured=" ".join(thought.split()),
        ),
        provenance=replace(provenance, made_by=made_by),
    )


def _read_lines(text: str, where: str) -> dict[str, str]:
    """Read ``name: text`` lines; a text runs on to the next such line."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        match = re.match(rf"({'|'.join(_LINES)}): ?", line)
        if match and match[1] not in found:
            name, line = match[1], line[match.end() :]
        found.setdefault(name, []).append(line)
    absent = [name for name in _LINES if not "".join(found.get(name, [])).strip()]
    if absent:
        raise TemplateError(f"template {where!r}: expected lines {[f'{n}:' for n in _LINES]}, found none {absent}")
    return {name: " ".join(" ".join(found[name]).split()) for name in _LINES}
