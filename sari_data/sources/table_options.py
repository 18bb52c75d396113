"""What a recipe says about a table: where it is, which column is what, and in which form its cells are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator, model_validator

from sari_data.config import Table
from sari_data.sources.cells import AnswerForm
from sari_data.types import check_domain


class Columns(Table):
    """Which column is what; only ``audio`` is needed, and ``question``, ``choices`` and ``answer`` go together.

    Args:
        audio: Paths relative to the audio folder, or embedded audio (a struct of bytes and path).
        question: The question's text.
        choices: One column with all options, or the columns of the options in order.
        answer: The gold, in the form that ``answer_form`` says.
        id: The row's own id; without it the file's name and the row's number.
        domain: Domain of each row; the key ``domain`` holds for rows without.
        category: First level of grouping.
        sub_category: Second level.
        difficulty: easy, medium or hard.
        caption: What there is to hear, in words.
        reasoning: A chain of thought as free text.
        structured: A chain of thought in four sections: a text with their tags, or a struct.
        labels: What is to be heard, for clips: a list, or a text split at ``separator``.
        facts: Further columns that a clip keeps.
        start: Where in the file the part that is meant begins, in seconds.
        duration: How long that part is, in seconds.
        licence: Licence of each row's audio; the key ``licence`` holds for rows without.
        youtube_id: A YouTube id or address.
        segment_start: Where in that video the audio begins, in seconds.
        segment_end: Where it ends, in seconds.
    """

    audio: str | None = None
    question: str | None = None
    choices: str | tuple[str, ...] | None = None
    answer: str | None = None
    id: str | None = None
    domain: str | None = None
    category: str | None = None
    sub_category: str | None = None
    difficulty: str | None = None
    caption: str | None = None
    reasoning: str | None = None
    structured: str | None = None
    labels: str | None = None
    facts: tuple[str, ...] = ()
    start: str | None = None
    duration: str | None = None
    licence: str | None = None
    youtube_id: str | None = None
    segment_start: str | None = None
    segment_end: str | None = None

    def used(self) -> list[str]:
        """Return the names of the table's columns that are used, each once."""
        given = [value for value in self.model_dump().values() if value]
        return list(dict.fromkeys(n for value in given for n in ([value] if isinstance(value, str) else value)))


# As the benchmarks publish their question files (MMAU: mmau-test-mini.json; MMAR: MMAR-meta.json).
PRESETS: Mapping[str, Columns] = {
    "mmau": Columns(
        audio="audio_id", question="question", choices="choices", answer="answer", id="id", domain="task",
        category="category", sub_category="sub-category", difficulty="difficulty",
    ),
    "mmar": Columns(
        audio="audio_path", question="question", choices="choices", answer="answer", id="id", domain="modality",
        category="category", sub_category="sub-category", youtube_id="url",
    ),
    "sari": Columns(
        audio="audio", question="question", choices="choices", answer="answer", id="id", domain="domain",
        category="category", sub_category="sub_category", difficulty="difficulty", caption="caption",
        reasoning="reasoning", structured="reasoning",
    ),
}  # fmt: skip


class Options(Table):
    """``[build.table]``: where the table is and what its columns mean.

    Args:
        path: A file (.csv, .tsv, .jsonl, .ndjson, .json with one array, .parquet), a folder that ``datasets`` reads,
            or ``hub:owner/name``.
        audio: The folder that the audio column's paths are relative to; without it the table's own folder, or for a
            data set on the Hub its repository.
        columns: Which column is what; adds to the preset and overrides it.
        preset: Columns of a known layout: mmau, mmar, or sari (a corpus folder).
        answer_form: How the gold is given: text (of the option), letter, index0 or index1 (counted from 0 or 1).
        separator: What stands between options (and labels) that are one text; without it such a text must be a list.
        strip_letters: Options are written with their letter ("A. dog"): take it off.
        domain: Domain of every row, or of rows whose domain column is empty: sound, music, speech, or a mix.
        domains: The table's words for domains to ours, for instance {"env" = "sound"}.
        dataset: The data set's name for provenance; without it the file's or repository's.
        licence: Licence of the audio, for rows whose licence column is empty.
        limit: How many rows to take of those whose audio is there, chosen by the seed; without it all.
        spool: Folder for embedded audio; without it a folder beside the table, or for the Hub one in the cache.
        config: Configuration of a folder or of a data set on the Hub.
        split: Split of it; may be left out where there is one.
        revision: Commit, tag or branch of a data set on the Hub.
    """

    path: str
    audio: str | None = None
    columns: Columns = Columns()
    preset: Literal["mmau", "mmar", "sari"] | None = None
    answer_form: AnswerForm = "text"
    separator: str | None = Field(default=None, min_length=1)
    strip_letters: bool = False
    domain: str | None = None
    domains: dict[str, str] = Field(default_factory=dict)
    dataset: str | None = None
    licence: str = ""
    limit: int | None = Field(default=None, ge=0)
    spool: str | None = None
    config: str | None = None
    split: str | None = None
    revision: str | None = None

    @field_validator("domain")
    @classmethod
    def _is_a_domain(cls, value: str | None) -> str | None:
        if value is not None:
            check_domain(value, "domain")
        return value

    @field_validator("domains")
    @classmethod
    def _are_domains(cls, value: dict[str, str]) -> dict[str, str]:
        for word, domain in value.items():
            check_domain(domain, f"domains: {word!r}")
        return value

    @model_validator(mode="after")
    def _columns_fit(self) -> Options:
        given = self.all_columns()
        if given.audio is None:
            raise ValueError("columns.audio must be given, or a preset")
        asked = {name: getattr(given, name) for name in ("question", "choices", "answer")}
        absent = [name for name, value in asked.items() if not value]
        if len(absent) not in (0, 3):
            raise ValueError(f"columns question, choices and answer go together; absent: {', '.join(absent)}")
        if given.domain is None and self.domain is None:
            raise ValueError("domain is needed: a constant in `domain`, or a column in `columns.domain`")
        return self

    def all_columns(self) -> Columns:
        """Return the preset's columns with those given in their place."""
        base = PRESETS[self.preset] if self.preset else Columns()
        return base.model_copy(update={name: getattr(self.columns, name) for name in self.columns.model_fields_set})
