"""AudioMCQ: 571,118 multiple-choice questions about sound, music, speech and time, with chains of thought.

What is published, and where it was looked up. The data set's card (``inclusionAI/AudioMCQ``, README.md, "Data Format"
and "Statistics") names ``source_dataset`` ("the name of the source dataset (e.g. Clotho, AudioCaps)") and ``id``, two
kinds of chain (structured, unstructured) and two audio-contribution subsets (weak, 54.8%, and strong, 45.2%). The copy
of the card at hand ends there. The rest is as a published reader of the curated subset
``Harland/AudioMCQ-StrongAC-GeminiCoT`` has it (NVIDIA NeMo-RL, ``response_datasets/audiomcq.py`` and its test):
``data.jsonl`` with ``source_dataset``, ``id``, ``question_type``, ``audio_path`` (relative, ``AudioCaps/<name>.wav``),
``question``, ``choices`` (four texts), ``answer`` (one of them as text) and, where it is there, ``audio-contribution``
(``weak`` or ``strong``); users of that subset read its chain from ``gemini_cot``. The names of the other columns with
chains, and ``question_text`` as another name of the question, were not confirmed: they are therefore looked for under
several names, and ``columns`` overrides each.

The full set ships annotations without audio (captions, clips and licences are those of its seven sources); the curated
subset ships its audio.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from sari_data.config import Table
from sari_data.errors import InputError
from sari_data.sources import cells
from sari_data.sources.base import About, Item
from sari_data.sources.cells import UnfitError
from sari_data.sources.rows import Row
from sari_data.sources.rows import Table as Rows
from sari_data.sources.table import open_reader, read_items
from sari_data.sources.table_options import Columns as TableColumns
from sari_data.sources.table_options import Options as TableOptions
from sari_data.sources.table_reader import Reader, read_structured
from sari_data.types import DOMAINS, Reasoning

EXAMPLE = """\
path = "AudioMCQ-StrongAC-GeminiCoT/data.jsonl"
audio = "AudioMCQ-StrongAC-GeminiCoT"
"""

ABOUT = About(
    name="audiomcq",
    title="AudioMCQ",
    gives="questions with four options, with chains of thought where the file has them",
    needs=(
        "path: a JSON lines (or JSON, Parquet) file of AudioMCQ, or hub:Harland/AudioMCQ-StrongAC-GeminiCoT",
        "audio: the folder that audio_path is relative to (not for a data set on the Hub that ships its audio)",
    ),
    licence="Apache-2.0",
    audio_licence=(
        "that of each source: Clotho (Freesound, per file), AudioCaps and CompA-R (YouTube), MusicCaps (YouTube), "
        "LP-MusicCaps MTT (MagnaTagATune), SpeechCraft (LibriTTS-R, CC BY 4.0), TACOS (Freesound, per file)"
    ),
    share_audio=False,
    get=(
        "hf download inclusionAI/AudioMCQ --repo-type dataset (annotations; audio from the seven sources)",
        "hf download Harland/AudioMCQ-StrongAC-GeminiCoT --repo-type dataset (19,480 questions with audio)",
    ),
    homepage="https://huggingface.co/datasets/inclusionAI/AudioMCQ",
    paper="He et al. 2025, arXiv 2509.21060",
)

# The first of these that the file has is read.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "question_text"),
    "contribution": ("audio-contribution", "audio_contribution"),
    "structured": ("structured_cot", "structured-cot", "structured_CoT"),
    "unstructured": ("gemini_cot", "unstructured_cot", "unstructured-cot", "unstructured_CoT"),
}
# What one hears in the clips of a source, for questions whose type (temporal) is no domain.
_DOMAINS = {
    "clotho": "sound",
    "audiocaps": "sound",
    "compa-r": "sound",
    "tacos": "sound",
    "musiccaps": "music",
    "lp-musiccaps-mtt": "music",
    "speechcraft": "speech",
}
_SOURCE, _TYPE = "source_dataset", "question_type"
WEAK = "weak_audio_contribution"


class Columns(Table):
    """Columns that are called otherwise than AudioMCQ's; without a name the published ones are looked for.

    Args:
        question: The question's text.
        choices: The options.
        answer: The right option's text.
        audio: Path of the audio.
        contribution: weak or strong.
        structured: The structured chain.
        unstructured: The free chain.
    """

    question: str | None = None
    choices: str = "choices"
    answer: str = "answer"
    audio: str = "audio_path"
    contribution: str | None = None
    structured: str | None = None
    unstructured: str | None = None


class Options(Table):
    """``[build.audiomcq]``: AudioMCQ's questions.

    Args:
        path: A file of the data set, a folder of it, or ``hub:owner/name``.
        audio: The folder that ``audio_path`` is relative to; without it the table's own, or the repository.
        contribution: Which audio-contribution subset: weak, strong, or all.
        columns: Columns that are called otherwise.
        licence: Licence of the audio.
        limit: How many questions to take of those whose audio is there, chosen by the seed; without it all.
        spool: Folder for embedded audio; without it a folder beside the file, or for the Hub one in the cache.
        split: Split of a folder or data set on the Hub; may be left out where there is one.
        revision: Commit, tag or branch of a data set on the Hub.
    """

    path: str
    audio: str | None = None
    contribution: Literal["all", "weak", "strong"] = "all"
    columns: Columns = Columns()
    licence: str = ""
    limit: int | None = Field(default=None, ge=0)
    spool: str | None = None
    split: str | None = None
    revision: str | None = None


def generate(options: Options, seed: int) -> Iterator[Item]:
    """Yield the questions in the file's order, and what is set aside; the columns are checked at once.

    A structured chain in sari's four sections is read as one; one in other sections is kept as free text where the row
    has no free chain, since nothing says which of its sections is which. A question of the weak subset, which models
    answered without the audio, has the flag ``weak_audio_contribution``.

    Raises:
        MissingFileError: The file or the audio folder is not there.
        InputError: A column is absent, ``contribution`` is asked for and not published in the file, or none of the
            audio is there.
        StorageError: The Hub cannot be reached.
    """
    rows = Rows(options.path, split=options.split, revision=options.revision)
    there = rows.names()
    named = {name: getattr(options.columns, name) or _first(names, there) for name, names in _NAMES.items()}
    if options.contribution != "all" and named["contribution"] is None:
        wanted = " or ".join(_NAMES["contribution"])
        raise InputError(
            f"{options.path}: contribution = {options.contribution!r} needs the column {wanted}, found {there}"
        )
    rows, plain = open_reader(_as_table(options, named["question"]), rows)
    reader = _Reader(plain.options, plain.columns, plain.dataset, plain.audio, named)
    also = [column for column in (*named.values(), _SOURCE) if column in there]

    def wanted_row(row: Row) -> bool:
        return options.contribution in ("all", reader.contribution(row))

    return read_items(rows, reader, seed, wanted=wanted_row, needs=also)


class _Reader(Reader):
    """Reads what is AudioMCQ's own: the source in the id, the domain of a type that is none, and the chains."""

    def __init__(self, options: Any, columns: Any, dataset: str, audio: Any, named: Mapping[str, str | None]) -> None:
        super().__init__(options, columns, dataset, audio)
        self.named = named

    def contribution(self, row: Row) -> str:
        """Return ``weak``, ``strong``, or what else the row says; empty where it says nothing."""
        return self._text(row, "contribution").lower()

    def source_id(self, row: Row) -> str:
        own = super().source_id(row)
        try:
            source = cells.read_text(row.values.get(_SOURCE))
        except UnfitError:
            source = ""
        return f"{source}/{own}" if source else own

    def domain(self, row: Row) -> str:
        kind, source = cells.read_text(row.values.get(_TYPE)).lower(), cells.read_text(row.values.get(_SOURCE))
        if kind in DOMAINS:
            return kind
        found = _DOMAINS.get(source.lower().replace(" ", "-").replace("_", "-"))
        if found is None:
            raise UnfitError("domain is not known", f"found question_type {kind!r} of source_dataset {source!r}")
        return found

    def reasoning(self, row: Row) -> Reasoning:
        structured, free = self._text(row, "structured"), self._text(row, "unstructured") or None
        if not structured:
            return Reasoning(None, free)
        try:
            return Reasoning(read_structured(structured), free)
        except UnfitError:
            return Reasoning(None, free or structured)

    def flags(self, row: Row) -> tuple[str, ...]:
        return (WEAK,) if self.contribution(row) == "weak" else ()

    def _text(self, row: Row, name: str) -> str:
        column = self.named[name]
        return "" if column is None else cells.read_text(row.values.get(column))


def _as_table(options: Options, question: str | None) -> TableOptions:
    columns = TableColumns(
        audio=options.columns.audio,
        question=question or _NAMES["question"][0],
        choices=options.columns.choices,
        answer=options.columns.answer,
        id="id",
        category=_TYPE,
    )
    same = ("path", "audio", "licence", "limit", "spool", "split", "revision")
    values = {name: getattr(options, name) for name in same}
    # The domain is read by the reader above; a table must name one.
    return TableOptions(columns=columns, dataset=ABOUT.title, domain="sound", **values)


def _first(names: tuple[str, ...], there: list[str]) -> str | None:
    return next((name for name in names if name in there), None)
