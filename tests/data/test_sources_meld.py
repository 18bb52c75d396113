"""MELD on its published tables: what is asked is true by the row, and what the options are does not tell the answer."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_audio import clips_of, evenness, questions_of, rule_of, set_aside, write_clips

from sari_data.errors import InputError, MissingFileError
from sari_data.prompting import render_target
from sari_data.sources.meld import Options, generate
from sari_data.sources.meld_rules import EMOTIONS, RULES, SENTIMENTS, SPEAKERS, Script
from sari_data.types import AudioQuestion

FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
BLURRED = ({"anger", "disgust"}, {"joy", "surprise"}, {"fear", "surprise"})
Row = dict[str, str]


def read(path: Path) -> list[Row]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def letters(text: str) -> set[str]:
    return set(re.sub(r"[^a-zé0-9' ]", " ", text.lower().replace("’", "'")).split())


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "meld"


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[str, Row]:
    return {f"dev/dia{r['Dialogue_ID']}_utt{r['Utterance_ID']}": r for r in read(folder / "dev_sent_emo.csv")}


@pytest.fixture(scope="module")
def audio(rows: dict[str, Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [f"{FOLDERS['dev']}/{id.partition('/')[2]}.wav" for id in rows]
    return write_clips(tmp_path_factory.mktemp("meld"), names)


@pytest.fixture(scope="module")
def items(folder: Path, audio: Path) -> list[Any]:
    options = Options(tables=(str(folder / "dev_sent_emo.csv"),), audio=str(audio), make="rules", questions_per_clip=8)
    return list(generate(options, 5))


@pytest.fixture(scope="module")
def questions(items: list[Any]) -> list[AudioQuestion]:
    return questions_of(items)


def table(path: Path, rows: Iterable[Iterable[object]]) -> Path:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path.write_text(f"{HEADER}\n{text.getvalue()}", encoding="utf-8")
    return path


def line(
    text: str = "We could go to the bank.", d: object = 0, u: object = 0, begin: str = "00:00:01,000",
    end: str = "00:00:03,500", speaker: str = "Ross", emotion: str = "joy", sentiment: str = "positive",
) -> list[object]:  # fmt: skip
    return [1, text, speaker, emotion, sentiment, d, u, 4, 7, begin, end]


def make(tmp_path: Path, *rows: list[object], **options: Any) -> list[Any]:
    """What the source yields for some rows of a train table, with audio for dialogues 0 and 125."""
    path = table(tmp_path / "train_sent_emo.csv", rows)
    write_clips(tmp_path / "clips", [f"dia{d}_utt{u}.wav" for d in (0, 125) for u in range(9)])
    return list(generate(Options(tables=(str(path),), audio=str(tmp_path / "clips"), **options), 1))


def right(question: AudioQuestion, row: Row) -> bool:
    field = {"emotion": "Emotion", "sentiment": "Sentiment", "speaker": "Speaker", "words": "Utterance"}
    return plain(row[field[rule_of(question)]]) == question.answer


def test_every_answer_is_the_rows_own(questions: list[AudioQuestion], rows: dict[str, Row]) -> None:
    counts = Counter(map(rule_of, questions))
    assert set(counts) == set(RULES)
    assert min(counts.values()) > 700
    for q in questions:
        assert right(q, rows[q.provenance.source_id])
        assert q.answer_index is not None
        assert not right(q.replace(answer=q.choices[q.answer_index - 1]), rows[q.provenance.source_id])


def test_the_options_alone_tell_little_of_the_emotion(questions: list[AudioQuestion]) -> None:
    asked = [q for q in questions if rule_of(q) == "emotion"]
    sets = Counter((frozenset(q.choices), q.answer) for q in asked)
    # Whoever knows which emotion is the most common for each set of options; 55 % with options dealt evenly.
    best = sum(max(sets[options, option] for option in options) for options in {options for options, _ in sets})
    assert best / len(asked) < 0.48


def test_what_is_said_neither_names_an_option_nor_has_stage_directions(tmp_path: Path, questions: Any) -> None:
    for q in questions:
        if rule_of(q) == "speaker":
            assert not any(re.search(rf"\b{choice}\b", q.caption, re.IGNORECASE) for choice in q.choices)
    rows = [
        line("Hi, it is me, Ross!", u=0),
        line("Joey, ask Rachel and Monica.", u=1),
        line("Monica, [she turns round] stop (to Joey) it.", u=2),
        line("[she leaves", u=3),
    ]
    made = questions_of(make(tmp_path, *rows, make="rules", questions_per_clip=8))
    speakers = [q for q in made if rule_of(q) == "speaker"]
    assert [q.provenance.source_id for q in speakers] == ["train/dia0_utt2"]
    assert "Monica" not in speakers[0].choices
    of = {q.provenance.source_id: q.caption for q in made}
    assert of["train/dia0_utt2"] == "Someone says: “Monica, stop it.”"
    assert "train/dia0_utt3" not in of


def test_options_are_the_classes_and_differ(questions: list[AudioQuestion], rows: dict[str, Row]) -> None:
    for q in questions:
        rule = rule_of(q)
        known = {"emotion": EMOTIONS, "sentiment": SENTIMENTS, "speaker": SPEAKERS}.get(rule)
        assert len(set(q.choices)) == len(q.choices) == (3 if rule == "sentiment" else 4)
        assert known is None or set(q.choices) <= set(known)
        if rule == "emotion":
            # Not even two wrong ones: else both of a pair would tell that neither is right.
            assert not any(pair <= set(q.choices) for pair in BLURRED)
        if rule == "words":
            said = [plain(r["Utterance"]) for id, r in rows.items() if id != q.provenance.source_id]
            for choice in q.choices:
                assert not re.search(r"[()\[\]*]", choice)
                if choice != q.answer:
                    assert choice in said
                    mine, others = letters(q.answer or ""), letters(choice)
                    assert len(mine & others) <= 0.45 * len(mine | others)


def test_nothing_about_the_options_tells_the_answer(questions: list[AudioQuestion]) -> None:
    assert evenness(questions) > 0.001
    assert evenness([q.replace(answer=q.choices[-1]) for q in questions[::4]]) < 1e-6
    words = [q for q in questions if rule_of(q) == "words"]
    by_length = [sorted(q.choices, key=len).index(q.answer or "") for q in words]
    shares = [by_length.count(rank) / len(words) for rank in range(4)]
    assert max(shares) < 0.32
    assert min(shares) > 0.19
    emotions = [q for q in questions if rule_of(q) == "emotion"]
    for emotion in EMOTIONS:
        offered = [q for q in emotions if emotion in q.choices]
        assert sum(q.answer == emotion for q in offered) < 0.5 * len(offered)
    assert max(Counter(q.answer for q in emotions).values()) < 0.3 * len(emotions)


def test_neutral_is_evened_out_only_where_asked(folder: Path, audio: Path) -> None:
    options = Options(
        tables=(str(folder / "dev_sent_emo.csv"),), audio=str(audio), rules=("emotion",), even_out_neutral=False
    )
    counts = Counter(q.answer for q in questions_of(generate(options, 5)))
    assert counts["neutral"] > 2.5 * max(count for name, count in counts.items() if name != "neutral")


def test_chains_end_in_the_answer_and_captions_do_not_leak(questions: list[AudioQuestion]) -> None:
    for q in questions[:600]:
        chain = q.reasoning.structured
        assert chain is not None
        assert q.answer is not None
        assert q.answer in chain.summary
        assert f"<answer>{q.answer}</answer>" in re.sub(
            r">\s+|\s+<", lambda m: m[0].strip(), render_target(q, "structured")
        )
        assert q.reasoning.unstructured is not None
        assert q.caption == chain.caption
        if rule_of(q) == "words":
            assert q.answer not in chain.caption + chain.planning
        if rule_of(q) == "speaker":
            assert not re.match(rf"{q.answer}\b", chain.caption)
        assert q.provenance.licence.startswith("none given")
        assert q.provenance.made_by["caption"] == f"rule:meld/{rule_of(q)}"


def test_all_published_tables_are_read(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row of the three tables is an utterance or set aside with its reason; texts are as published."""
    seen: list[Script] = []

    class Spy(Script):
        def __init__(self, lines: Any) -> None:
            super().__init__(lines)
            seen.append(self)

    monkeypatch.setattr("sari_data.sources.meld.Script", Spy)
    write_clips(tmp_path, [f"{FOLDERS['test']}/dia0_utt0.wav", f"{FOLDERS['train']}/dia0_utt0.wav"])
    tables = {split: folder / f"{split}_sent_emo.csv" for split in FOLDERS}
    options = Options(tables=tuple(map(str, tables.values())), audio=str(tmp_path), make="clips")
    items = list(generate(options, 0))
    reasons = Counter(item.reason for item in set_aside(items))
    published = {split: read(path) for split, path in tables.items()}
    total = sum(map(len, published.values()))
    (script,) = seen
    assert total == 13708
    assert len(items) == total == len(script.lines) + sum(reasons.values()) - reasons["audio is missing"]
    assert reasons == {
        "audio is missing": len(script.lines) - 2, "clip is too short": 406, "words do not fit the times": 43,
        "clip is too long": 3, "clip is damaged as published": 1, "row is malformed": 1,
    }  # fmt: skip
    texts = {plain(r["Utterance"]) for rows in published.values() for r in rows}
    assert {x.text for x in script.lines} <= texts
    assert any("é" in x.text for x in script.lines)
    assert {clip.facts["utterance"] for clip in clips_of(items)} == {
        plain(published[split][0]["Utterance"]) for split in ("train", "test")
    }
    long = {item.id for item in set_aside(items) if item.reason == "clip is too long"}
    assert {"test/dia38_utt4", "test/dia220_utt0"} <= long  # cut wrongly: minutes for a sentence


def test_clips_of_several_splits_are_told_apart(tmp_path: Path) -> None:
    tables = [table(tmp_path / f"{split}_sent_emo.csv", [line(f"This is {split}.")]) for split in ("train", "dev")]
    options = Options(tables=tuple(map(str, tables)), audio=str(tmp_path / "audio"), make="clips")
    write_clips(tmp_path / "audio", ["dia0_utt0.wav"])
    with pytest.raises(InputError, match=r"train_splits/dia<D>_utt<U>.wav"):
        list(generate(options, 0))
    write_clips(tmp_path / "audio", ["raw/train_splits/dia0_utt0.wav", "dev/dia0_utt0.wav", "dev/._dia0_utt0.wav"])
    clips = clips_of(generate(options, 0))
    assert [(c.facts["utterance"], Path(str(c.audio.path)).parent.name) for c in clips] == [
        ("This is train.", "train_splits"), ("This is dev.", "dev"),
    ]  # fmt: skip
    # One table alone does not take another split's clip for its own.
    (tmp_path / "audio" / "dev" / "dia0_utt0.wav").unlink()
    with pytest.raises(InputError):
        list(generate(options.model_copy(update={"tables": (str(tables[1]),)}), 0))


def test_rows_that_are_left_out_say_why(tmp_path: Path) -> None:
    items = make(
        tmp_path, line(), line("Said again.", u=0), line(u=1, end="00:00:01,300"), line(u=2, end="00:00:40,000"),
        line("one two three four five six seven eight nine ten", u=3, end="00:00:02,000"), line(d=125, u=3), line(d=7),
        make="clips",
    )  # fmt: skip
    assert [item.reason for item in set_aside(items)] == [
        "row repeats a clip", "clip is too short", "clip is too long", "words do not fit the times",
        "clip is damaged as published", "audio is missing",
    ]  # fmt: skip
    assert len(clips_of(items)) == 1
    bold = make(tmp_path, line(u=1, end="00:00:01,300"), make="clips", shortest=0.1)
    assert bold[0].reason == "words do not fit the times"
    (aside,) = make(tmp_path, line("Oh!", speaker="Gunther", emotion="neutral", sentiment="neutral"), make="rules",
                    rules=("speaker", "words"))  # fmt: skip
    assert aside.reason == "no rule fits the clip"
    assert "speaker: the speaker is none of the six main characters; words: the text is too short" in aside.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"emotion": "bored"}, {"sentiment": "mixed"}, {"begin": "soon"}, {"end": "00:00:00,500"}, {"d": "x"},
        {"u": "-1"}, {"text": "..."}, {"speaker": " "}, {"end": "00:61:00"},
    ],
)  # fmt: skip
def test_a_malformed_row_is_set_aside(tmp_path: Path, changes: dict[str, Any]) -> None:
    items = make(tmp_path, line(), line(**{"u": 1, **changes}))
    (aside,) = set_aside(items)
    assert aside.reason == "row is malformed"
    assert "train_sent_emo.csv, line 3: expected" in aside.detail
    assert len(clips_of(items)) == 1


fields = st.text(max_size=12) | st.sampled_from(
    ["joy", "neutral", "positive", "3", "00:00:05,000", "Joey", "Well hello!"]
)


@given(st.lists(fields.map(lambda t: t.replace("\x00", "")), min_size=11, max_size=11))
def test_whatever_a_row_holds_it_is_read_or_set_aside(tmp_path_factory: Any, row: list[str]) -> None:
    row = [re.sub(r"[\ud800-\udfff]", "", field) for field in row]
    items = make(tmp_path_factory.mktemp("rows"), line(), row, make="clips")
    assert len(clips_of(items)) + len(set_aside(items)) == 2


def test_windows_characters_become_what_they_stand_for(tmp_path: Path) -> None:
    (clip,) = make(tmp_path, line("You\x92re  a \x93genius\x94 \x97 caf\u00e9"), make="clips")
    assert clip.facts["utterance"] == "You’re a “genius” — café"


def test_the_same_seed_gives_the_same_and_a_limit_a_part(folder: Path, audio: Path, items: list[Any]) -> None:
    def run(seed: int, **options: Any) -> list[Any]:
        return list(generate(Options(tables=(str(folder / "dev_sent_emo.csv"),), audio=str(audio), **options), seed))

    some = questions_of(run(5, limit=40, make="rules", questions_per_clip=8))
    assert some == questions_of(run(5, limit=40, make="rules", questions_per_clip=8))
    ids = [q.id for q in questions_of(items)]
    assert [i for i in ids if i in {q.id for q in some}] == [q.id for q in some]
    assert len({q.provenance.source_id for q in some}) <= 40
    both = run(5, limit=10, questions_per_clip=1)
    assert len(clips_of(both)) == 10
    assert max(Counter(q.provenance.source_id for q in questions_of(both)).values()) == 1
    assert {c.id for c in clips_of(both)} != {c.id for c in clips_of(run(6, limit=10, questions_per_clip=1))}


def test_absent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="absent"):
        list(generate(Options(tables=("absent_sent_emo.csv",), audio=str(tmp_path)), 0))
    path = tmp_path / "train_sent_emo.csv"
    path.write_text("Utterance,Speaker\nHi,Joey\n", encoding="utf-8")
    with pytest.raises(InputError, match="expected the columns"):
        list(generate(Options(tables=(str(path),), audio=str(tmp_path)), 0))
