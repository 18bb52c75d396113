"""AVQA: questions about everyday sounds and sights in 10-second videos of VGG-Sound, taken for what can be heard.

What published preprocessing does, and what is done here:

- Ke-Omni-R (``src/utils/prepare_aqa.py``) skips rows whose ``question_relation`` is ``View``, then rows in whose
  ``question_text`` the letters ``color`` occur, then rows without ``<video_name>.wav``. (Its loop overwrites the
  folder's name with each file's, so from the second row on it looks in a folder that is a file.)
  Here the same rows are skipped, each with its reason, and those with ``colour`` or ``Color`` too.
- R1-AQA and Ke-Omni-R (``src/dataset/dataset.py``, when a prompt is made) replace ``video`` by ``audio`` in
  ``question_text``, within words and as it is written, and leave the options alone. Here too, unless
  ``rewrite`` is off; ``made_by`` records it where it changed the text.
- R1-AQA trains on all rows, those about the picture too, and names audio ``<YTID>_<start>.wav``, with the start not
  padded; that name is looked for as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from sari_data.config import Table
from sari_data.options import loose_form
from sari_data.sources.base import About, Item, SetAside
from sari_data.sources.fetching import fetched
from sari_data.sources.files import AudioIndex, take
from sari_data.sources.readers import read_json_array
from sari_data.types import AudioQuestion, AudioRef, Provenance, hash_path, make_id

ABOUT = About(
    name="avqa",
    title="AVQA (audio-visual question answering on VGG-Sound)",
    gives="its own questions with four options, without those about what only the picture shows and about colour",
    needs=(
        "questions: train_qa.json",
        "audio: a folder of the videos' sound, named <YTID>_<start, six digits>.wav or <YTID>_<start>.wav",
    ),
    licence="not stated with the files; see the homepage",
    audio_licence="each YouTube uploader's own (VGG-Sound's list of videos is CC BY 4.0)",
    share_audio=False,
    get=(
        "questions: https://mn.cs.tsinghua.edu.cn/avqa/",
        "videos: VGG-Sound, https://www.robots.ox.ac.uk/~vgg/data/vggsound/",
        "sound of one: ffmpeg -i <video_name>.mp4 -vn -ac 1 -ar 16000 <video_name>.wav",
    ),
    homepage="https://mn.cs.tsinghua.edu.cn/avqa/",
    paper="Yang et al., ACM Multimedia 2022",
)

FORMS = ("<YTID>_<start, six digits>", "<YTID>_<start>", "<YTID>_<start in ms>")
ONLY_VIEW = "only the picture shows it"
COLOUR = "about colour"
_SECONDS = 10  # of each video that VGG-Sound has
_RELATIONS = ("View", "Sound", "Both")
_VIDEO = re.compile(r"(?P<id>.+)_(?P<start>\d{6})")


class Options(Table):
    """Which part of AVQA to take.

    Args:
        questions: Files in AVQA's format (a JSON array, or JSON lines), relative to the working folder.
        audio: Folder of the audio; its subfolders count.
        limit: How many videos to take, with all their questions; all of them without it.
        rewrite: Whether ``video`` becomes ``audio`` in the text of questions, as in R1-AQA and Ke-Omni-R.
    """

    questions: tuple[str, ...] = ("train_qa.json",)
    audio: str = "audio"
    limit: int | None = Field(default=None, ge=1)
    rewrite: bool = True


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that is as it should be."""

    id: str
    video: str
    question: str
    choices: tuple[str, ...]
    answer: str
    relation: str
    kind: str

    def names(self) -> Sequence[str]:
        """The names that its audio may have, as in FORMS."""
        found = _VIDEO.fullmatch(self.video)
        if found is None:
            return (self.video,)
        start = int(found["start"])
        return (self.video, f"{found['id']}_{start}", f"{found['id']}_{start * 1000}")

    def provenance(self) -> Provenance:
        """Where it is from."""
        return _provenance(self.id, self.video)


def generate(options: Options, seed: int) -> Iterator[Item]:
    """Yield the questions in the files' order; what is skipped or wrong is set aside with its reason.

    A question is AVQA's own: text, options and their order.

    Raises:
        MissingFileError: A file or the folder of audio is not there.
        InputError: A file is not JSON, or none of the audio is there.
    """
    options = fetched(options, ("questions",), "audio")
    index = AudioIndex(options.audio, FORMS)
    seen: set[str] = set()
    refs: dict[Path, AudioRef] = {}
    for item in take(
        lambda: _rows(options.questions),
        index,
        names=_Row.names,
        clip=lambda row: row.video,
        provenance=_Row.provenance,
        limit=options.limit,
        seed=seed,
    ):
        if isinstance(item, SetAside):
            yield item
            continue
        row, path, _ = item
        if path not in refs:
            # Rows of one video stand together: its file is read once for them, and no more is kept.
            refs = {path: hash_path(path)}
        question = _question(row, refs[path], options.rewrite)
        if question.id in seen:
            yield _aside("question is listed again", row.id, row.video, f"row {row.id}: {row.question!r}")
            continue
        seen.add(question.id)
        yield question


def _question(row: _Row, audio: AudioRef, rewrite: bool) -> AudioQuestion:
    text = row.question.replace("video", "audio") if rewrite else row.question
    made_by = dict.fromkeys(("question", "choices", "answer"), "dataset:avqa")
    if text != row.question:
        made_by["question"] = "dataset:avqa, 'video' replaced by 'audio' as in R1-AQA"
    return AudioQuestion(
        id=make_id(audio, text, row.choices),
        audio=audio,
        question=text,
        choices=row.choices,
        answer=row.answer,
        domain="sound",
        category=row.relation,
        sub_category=row.kind,
        provenance=replace(row.provenance(), made_by=made_by),
    )


def _rows(paths: Sequence[str]) -> Iterator[_Row | SetAside]:
    for path in paths:
        for line, value in read_json_array(path):
            yield _row(value, f"{path}, line {line}")


def _row(value: Any, where: str) -> _Row | SetAside:
    """Check one row; ``where`` names it in what is said of it."""
    raw = value if isinstance(value, dict) else {}
    id, video = str(raw.get("id", where)), raw.get("video_name")
    question, choices, answer = raw.get("question_text"), raw.get("multi_choice"), raw.get("answer")
    where = f"{where} (id {id})"
    named = video if isinstance(video, str) else ""
    options = tuple(str(choice).strip() for choice in choices) if isinstance(choices, list) else ()
    texts = len(options) > 1 and all(options) and all(isinstance(c, str | int | float) for c in choices or ())
    if not named.strip() or not isinstance(question, str) or not question.strip() or not texts:
        needs = "video_name, question_text and multi_choice"
        return _aside("row is malformed", id, named, f"{where}: expected {needs}, found {str(value)[:120]}")
    # Skipped before the rest is checked, and in Ke-Omni-R's order, so that the counts can be compared.
    relation = raw.get("question_relation")
    if relation not in _RELATIONS:
        found = f"expected a question_relation among {', '.join(_RELATIONS)}, found {relation!r}"
        return _aside("row is malformed", id, named, f"{where}: {found}")
    if relation == "View":
        return _aside(ONLY_VIEW, id, named, f"{where}: {question}")
    if re.search("colou?r", question, re.IGNORECASE):
        return _aside(COLOUR, id, named, f"{where}: {question}")
    if len({loose_form(option) for option in options}) < len(options):
        return _aside("an option is there twice", id, named, f"{where}: {list(options)}")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(options):
        found = f"expected an answer from 0 to {len(options) - 1}, found {answer!r}"
        return _aside("answer is not an option's number", id, named, f"{where}: {found}")
    kind = raw.get("question_type")
    return _Row(id, named, question.strip(), options, options[answer], str(relation), str(kind or ""))


def _provenance(id: str, video: str) -> Provenance:
    found = _VIDEO.fullmatch(video)
    start = None if found is None else float(found["start"])
    return Provenance(
        dataset="avqa",
        source_id=id,
        licence=ABOUT.audio_licence,
        youtube_id="" if found is None else found["id"],
        segment_start=start,
        segment_end=None if start is None else start + _SECONDS,
    )


def _aside(reason: str, id: str, video: str, detail: str) -> SetAside:
    return SetAside(stage="collect", reason=reason, id=id, provenance=_provenance(id, video), detail=detail)
