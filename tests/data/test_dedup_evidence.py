"""What is evidence that a question leaked, and what templates give by chance: against simulation, and by cases."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_data.dedup import Dedup
from sari_data.dedup.chance import MOST_EXPECTED, Chance, frames
from sari_data.dedup.collection import Held, hold_benchmark
from sari_data.dedup.evidence import match_evidence
from sari_data.dedup.text import Text, Texts
from sari_data.references import Against

Question = tuple[str, tuple[str, ...], str]


def _texts(*questions: Question) -> Texts:
    texts = Texts()
    for question in questions:
        texts.add(Text.of(*question))
    return texts


def _grades(benchmark: list[Question], corpus: list[Question], folder: Path, ids: str = "") -> list[str]:
    """The grade of each question of the benchmark, each about a recording of its own; "" where nothing is found."""
    held = Held()
    for number, question in enumerate(benchmark):
        held.ids.append(f"{ids}{number}")
        held.text_numbers.append(held.texts.add(Text.of(*question)))
        held.clip_numbers.append(held.clips.add(f"own{number}", None)[0])
    rows = [
        {"id": f"{ids or 'c'}{number}", "question": text, "choices": list(options), "answer": answer}
        for number, (text, options, answer) in enumerate(corpus)
    ]
    path = folder / "corpus.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    found = match_evidence(held, hold_benchmark(Against(path=str(path)), Dedup(sound=False)), Dedup())
    return [found[text].grade if text in found else "" for text in held.text_numbers]


def _drawn(rng: np.random.Generator, vocabulary: int, number: int) -> list[Question]:
    """Questions of one template whose four options are drawn from a list."""
    found = []
    for chosen in rng.random((number, vocabulary)).argsort(axis=1)[:, :4]:
        options = tuple(f"sound {k}" for k in chosen)
        found.append(("Which of these sounds is the first one that is heard here?", options, options[0]))
    return found


@pytest.mark.parametrize(("vocabulary", "number"), [(8, 60), (10, 150), (12, 300)])
def test_the_expected_number_is_that_of_a_simulation(vocabulary: int, number: int) -> None:
    """How many texts of a corpus have a given question's options, counted in fresh corpora of the same template."""
    rng = np.random.default_rng(vocabulary)
    asked = _drawn(rng, vocabulary, 1)[0]
    own, listed = Text.of(*asked), set(asked[1])
    # Equal texts are one text, in a corpus as it is held.
    simulated = np.mean([len({q[2] for q in _drawn(rng, vocabulary, number) if listed == {*q[1]}}) for _ in range(200)])
    guesses = []
    for _ in range(10):
        corpus = _texts(*(q for q in _drawn(rng, vocabulary, number) if listed != {*q[1]}))
        benchmark = _texts((own.question, own.options, own.options[0]))
        chance = Chance(benchmark, corpus, [0], [1])
        guesses.append(chance.of_text(own, own.options, [(benchmark[0], False)], same=True))
    expected = np.mean(guesses)
    # Never much less than the truth, and a little more, for options might be one list.
    assert 0.7 * simulated < expected < 2 * simulated
    assert not 0.7 * simulated < expected * (vocabulary / 4) ** 2 < 2 * simulated, (
        "two options that are not counted would be seen"
    )


def _written(question: str) -> list[tuple[str, str]]:
    """The frames of a question written out, with a gap for what is left out, and that."""
    words, found = question.split(), [(question, "")]
    for gap in range(1, 4):
        if len(words) - gap >= max(gap, 2):
            for at in range(len(words) - gap + 1):
                left_out = " ".join(words[at : at + gap])
                found.append((" ".join([*words[:at], "*", *words[at + gap :]]), left_out))
    return found


def test_frames_leave_out_up_to_three_words_in_one_place() -> None:
    written = dict(_written("how often does bark occur"))
    assert written["how often does * occur"] == "bark"
    assert written["how often does *"] == "bark occur"
    assert "how often *" not in written, "three of five words are more than half"
    assert len(list(frames("one"))) == len(list(frames("one two"))) == 1
    assert len(list(frames("one two three"))) == 4


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=7).map(" ".join), min_size=2, max_size=4))
def test_frames_are_the_same_where_their_words_are(questions: list[str]) -> None:
    pairs = [pair for q in questions for pair in zip(frames(q), _written(q), strict=True)]
    assert all(filler == left_out for (_, filler), (_, left_out) in pairs)
    frame_of = {words: frame for (frame, _), (words, _) in pairs}
    assert all(frame_of[words] == frame for (frame, _), (words, _) in pairs)
    assert len(set(frame_of.values())) == len(frame_of)


def test_a_text_as_long_as_a_book_takes_time_by_its_words() -> None:
    book = " ".join(f"word{number % 5000}" for number in range(200_000))
    own = Text.of(book, ("a dog", "a cat"), "a dog")
    began = time.process_time()
    texts = _texts((book, own.options, "a dog"))
    chance = Chance(texts, texts, [0], [1])
    assert chance.of_text(own, own.options, [(own, False), (own, True)], same=True) == 0
    # About 1 s; written out, the frames have 10^12 signs.
    assert time.process_time() - began < 20


INSTRUMENTS = ("piano", "organ", "flute", "brass", "marimba")


def _templates(seed: int, number: int) -> list[Question]:
    """What a rule writes about made scenes: few words, few options, and other answers."""
    rng = np.random.default_rng(seed)
    found: list[Question] = []
    for _ in range(number):
        some = tuple(INSTRUMENTS[k] for k in rng.choice(5, 4, replace=False))
        times = tuple(str(k) for k in rng.permutation(4) + 1)
        name = INSTRUMENTS[int(rng.integers(5))]
        found += [
            ("Which instrument is heard first?", some, some[0]),
            (f"Which instrument comes right after {name}?", some, some[1]),
            (f"How often does {name} occur in all?", times, times[2]),
            ("Are the first and the last sound the same?", ("yes", "no"), ("yes", "no")[int(rng.integers(2))]),
        ]
    return found


def test_what_one_template_gives_twice_is_no_leak(tmp_path: Path) -> None:
    grades = _grades(_templates(1, 40), _templates(2, 40), tmp_path)
    assert {"exact", "near"}.isdisjoint(grades)
    assert {"generic", "other_answer", "question"} <= set(grades), "they are counted all the same"


RARE: Question = ("Which instrument is heard first?", ("hurdy-gurdy", "theremin", "nose flute", "kazoo"), "kazoo")
FREE: Question = ("Why does the caller hang up before the tram arrives?", ("a quarrel", "haste", "a knock"), "haste")


def test_a_leak_is_found_among_templates(tmp_path: Path) -> None:
    asked = [RARE, FREE, *_templates(1, 20)]
    copied = [(RARE[0].upper(), tuple(f"({c}) {o}" for c, o in zip("ABCD", RARE[1][::-1], strict=True)), "Kazoo"), FREE]
    for times in (1, 50):
        # Fifty copies do not excuse themselves, whatever they say of their recordings.
        grades = _grades(asked, [*_templates(2, 20), *copied * times], tmp_path)
        assert grades[:2] == ["exact", "exact"]
        assert {"exact", "near"}.isdisjoint(grades[2:])
    reworded = (f"Listen to the recording: {RARE[0]}", RARE[1], RARE[2])
    shorter = ("Why does the caller hang up before the tram?", FREE[1], FREE[2])
    assert _grades([RARE, FREE], [*_templates(2, 20), reworded, shorter], tmp_path) == ["near", "near"]


def test_half_of_a_question_is_none(tmp_path: Path) -> None:
    other_options = (FREE[0], ("red", "green", "blue"), "red")
    other_question = ("Which colour has the second train of the day?", FREE[1], FREE[2])
    other_answer = (FREE[0], FREE[1], "a quarrel")
    assert _grades([FREE], [other_options], tmp_path) == ["question"]
    assert _grades([FREE], [other_question], tmp_path)[0] in ("", "generic")
    assert _grades([FREE], [other_answer], tmp_path) == ["other_answer"]
    short: Question = ("Is it loud?", ("yes", "no"), "yes")
    assert _grades([short], [short], tmp_path) == ["generic"], "five words are written twice without being copied"


def test_a_template_with_the_benchmarks_id_is_the_benchmarks(tmp_path: Path) -> None:
    asked = _templates(1, 10)
    assert "exact" not in _grades(asked, _templates(2, 40) + asked, tmp_path)
    assert set(_grades(asked, asked, tmp_path, ids="3fe64f3d-282c-4bc8-")) == {"exact"}
    assert "exact" not in _grades(asked, asked[::-1], tmp_path, ids="3fe64f3d-282c-4bc8-"), "the id alone says nothing"


def test_a_text_that_many_recordings_share_is_none_of_theirs(tmp_path: Path) -> None:
    rows = [
        {"question": FREE[0], "choices": list(FREE[1]), "answer": FREE[2], "audio_path": f"{number}.wav"}
        for number in range(6)
    ]
    path = tmp_path / "corpus.jsonl"
    held = Held(ids=["b"])
    held.text_numbers.append(held.texts.add(Text.of(*FREE)))
    held.clip_numbers.append(held.clips.add("own", None)[0])
    for count, grade in ((5, "exact"), (6, "generic")):
        path.write_text("\n".join(map(json.dumps, rows[:count])), encoding="utf-8")
        corpus = hold_benchmark(Against(path=str(path)), Dedup(sound=False))
        assert match_evidence(held, corpus, Dedup())[0].grade == grade


def test_no_corpus_and_no_order_of_rows_changes_what_is_found(tmp_path: Path) -> None:
    asked, corpus = [RARE, FREE, *_templates(1, 5)], [*_templates(2, 10), FREE]
    assert _grades(asked, corpus, tmp_path) == _grades(asked, corpus[::-1], tmp_path)
    assert MOST_EXPECTED < 1 < len(list(itertools.islice(frames(FREE[0].lower()), 3)))
