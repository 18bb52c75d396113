"""Makes questions and clips from the rows of a table, or says why a row cannot be one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sari_data.answers import read_response
from sari_data.sources import cells
from sari_data.sources.base import Clip, Item, SetAside
from sari_data.sources.cells import UnfitError
from sari_data.sources.rows import Row
from sari_data.sources.table_audio import TableAudio
from sari_data.sources.table_options import Columns, Options
from sari_data.types import DIFFICULTIES, AudioQuestion, Provenance, Reasoning, StructuredReasoning, make_id

STAGE = "collect"
_SECTIONS = ("planning", "caption", "reasoning", "summary")


class Reader:
    """Makes items from rows. A data set whose rows say more in their own way overrides what reads a part of them.

    Args:
        options: What the columns mean.
        columns: The columns.
        dataset: The data set's name.
        audio: Finds a row's audio.
    """

    def __init__(self, options: Options, columns: Columns, dataset: str, audio: TableAudio) -> None:
        self.options, self.columns, self.dataset, self.audio = options, columns, dataset, audio

    def source_id(self, row: Row) -> str:
        """Return the row's own id, or its file and number."""
        try:
            own = cells.read_text(_cell(row, self.columns.id))
        except UnfitError:
            own = ""
        return own or f"{row.file}:{row.number}"

    def domain(self, row: Row) -> str:
        """Return the row's domain; raises UnfitError."""
        value = _cell(row, self.columns.domain)
        if self.options.domain is not None and cells.is_empty(value):
            return self.options.domain
        return cells.read_domain(value, self.options.domains)

    def reasoning(self, row: Row) -> Reasoning:
        """Return the row's chains of thought; raises UnfitError."""
        free = _cell(row, self.columns.reasoning)
        if isinstance(free, dict):
            free = free.get("unstructured")  # as a corpus of sari has both forms in one column
        return Reasoning(read_structured(_cell(row, self.columns.structured)), cells.read_text(free) or None)

    def flags(self, row: Row) -> tuple[str, ...]:
        """Return the flags of the row's question."""
        return ()

    def item(self, row: Row) -> Item:
        """Return the question or clip of a row, or why there is none."""
        provenance = Provenance(dataset=self.dataset, source_id=self.source_id(row))
        try:
            return self._item(row, provenance)
        except UnfitError as error:
            detail = f"{row.file}, row {row.number}: {error.detail}"
            name = provenance.source_id
            return SetAside(stage=STAGE, reason=error.reason, id=name, provenance=provenance, detail=detail)

    def _item(self, row: Row, origin: Provenance) -> AudioQuestion | Clip:
        c, cell = self.columns, partial(_cell, row)
        start = cells.read_seconds(cell(c.start), "start") or 0.0
        duration = cells.read_seconds(cell(c.duration), "duration", positive=True)
        domain = self.domain(row)
        caption = cells.read_text(cell(c.caption)) or None
        provenance = Provenance(
            dataset=origin.dataset,
            source_id=origin.source_id,
            licence=cells.read_text(cell(c.licence)) or self.options.licence,
            youtube_id=cells.read_youtube(cell(c.youtube_id)),
            segment_start=cells.read_seconds(cell(c.segment_start), "segment start"),
            segment_end=cells.read_seconds(cell(c.segment_end), "segment end"),
        )
        choices = self._choices(row)
        if not choices:
            labels = cells.read_labels(cell(c.labels), self.options.separator)
            if c.question and not caption and not labels:
                raise UnfitError("no options", "the row has no options, caption or labels")
            facts = {name: _plain(row.values[name]) for name in c.facts if not cells.is_empty(row.values.get(name))}
            return Clip(
                audio=self.audio.ref(cell(c.audio), start, duration),
                domain=domain,
                labels=labels,
                facts=facts,
                caption=caption,
                provenance=_made(provenance, ["caption"] * (caption is not None)),
                category=cells.read_text(cell(c.category)),
            )
        return self._question(row, choices, start, duration, domain, caption, provenance)

    def _question(
        self, row: Row, choices: list[str | None], start: float, duration: float | None, domain: str,
        caption: str | None, provenance: Provenance,
    ) -> AudioQuestion:  # fmt: skip
        c, cell, form = self.columns, partial(_cell, row), self.options.answer_form
        answer = cell(c.answer)
        if self.options.strip_letters:
            choices, answer = cells.strip_letters(choices, answer, form)
        gold = cells.read_answer(answer, choices, form)
        shown = tuple(choice for choice in choices if choice is not None)
        question = cells.read_text(cell(c.question))
        if len(shown) < 2:
            raise UnfitError("fewer than two options", f"found {list(shown)}")
        if not question:
            raise UnfitError("no question", "the cell is empty")
        reasoning = self.reasoning(row)
        made = {"caption": caption, "reasoning.structured": reasoning.structured,
                "reasoning.unstructured": reasoning.unstructured}  # fmt: skip
        audio = self.audio.ref(cell(c.audio), start, duration)
        return AudioQuestion(
            id=make_id(audio, question, shown),
            audio=audio,
            question=question,
            choices=shown,
            answer=gold,
            domain=domain,
            category=cells.read_text(cell(c.category)),
            sub_category=cells.read_text(cell(c.sub_category)),
            difficulty=_difficulty(cell(c.difficulty)),
            caption=caption,
            reasoning=reasoning,
            provenance=_made(provenance, ["question", "choices", "answer", *(n for n, v in made.items() if v)]),
            flags=self.flags(row),
        )

    def _choices(self, row: Row) -> list[str | None]:
        named = self.columns.choices
        if not named:
            return []
        value = _cell(row, named) if isinstance(named, str) else [cells.read_text(row.values.get(n)) for n in named]
        return cells.read_choices(value, self.options.separator)


def _cell(row: Row, column: str | None) -> Any:
    return None if column is None else row.values.get(column)


def _made(provenance: Provenance, fields: Sequence[str]) -> Provenance:
    return replace(provenance, made_by=dict.fromkeys(fields, f"dataset:{provenance.dataset}"))


def read_structured(value: Any) -> StructuredReasoning | None:
    """Return a chain in four sections, from a struct of them or a text with their tags; ``None`` where there is none.

    Raises:
        UnfitError: Some of the four are missing.
    """
    if cells.is_empty(value):
        return None
    found = value
    if isinstance(value, dict) and isinstance(value.get("structured"), dict):
        found = value["structured"]
    if isinstance(found, str):
        sections = read_response(found, ()).sections
        found = {name: sections.get(f"think.{name}", sections.get(name)) for name in _SECTIONS}
    texts = {name: cells.read_text(found.get(name)) for name in _SECTIONS} if isinstance(found, dict) else {}
    if not all(texts.values()) or not texts:
        if isinstance(value, dict) and not any(texts.values()):
            return None  # a struct of nothing is how Parquet says that there is none
        raise UnfitError("structured chain cannot be read", f"found {str(value)[:200]!r}, expected {_SECTIONS}")
    return StructuredReasoning(**texts)


def _difficulty(value: Any) -> str | None:
    text = cells.read_text(value).lower()
    if text and text not in DIFFICULTIES:
        raise UnfitError("difficulty is not easy, medium or hard", f"found {text[:80]!r}: leave its column out")
    return text or None


def _plain(value: Any) -> Any:
    """A cell as a JSON value; what JSON has no form for, such as a date, as its text."""
    return json.loads(json.dumps(value, default=str))
