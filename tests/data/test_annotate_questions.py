"""Questions that a model writes: what is accepted, what is rejected and why, and how the options are dealt."""

import json
from collections import Counter

import annotator
import pytest
from annotator import Annotator, asker, clip, table
from hypothesis import given
from hypothesis import strategies as st

from sari_data.annotate import Tally, write_questions
from sari_data.annotation import question_checks as checks
from sari_data.annotation.questions import NO_SKILL, NOTHING_KNOWN, TOO_FEW, WRONG_ANSWER, read_question
from sari_data.annotation.reading import WRONG_SHAPE, WRONG_TYPE, Rejected
from sari_data.sources.base import SetAside
from sari_data.types import AudioQuestion, make_id

ROW = {
    "question": "Which animal is heard last?",
    "options": ["a dog", "a cat", "a cow", "a hen"],
    "answer": "a dog",
    "skill": "order of events",
}


def write(rows, clips=None, **changes):
    """The results for clips that all get this answer."""
    text = rows if isinstance(rows, str) else json.dumps(rows)
    responder, tally = Annotator(lambda _: text), Tally()
    found = dict(write_questions(clips or [clip(1)], asker(responder), table(**changes), tally=tally))
    return found, responder, tally


def test_a_question_carries_all_that_its_clip_knows() -> None:
    known = clip(1, category="animals", caption="A cat, then a dog.")
    known.provenance.made_by["caption"] = "dataset:made"
    found, responder, _ = write([ROW | {"difficulty": "Hard"}], [known], difficulty=True)
    [question] = found[known.id]
    assert (question.question, question.answer) == (ROW["question"], "a dog")
    assert sorted(question.choices) == sorted(ROW["options"])
    assert (question.domain, question.category, question.sub_category) == ("sound", "animals", "order of events")
    assert (question.difficulty, question.caption) == ("hard", "A cat, then a dog.")
    assert question.audio is known.audio
    assert question.id == make_id(known.audio, question.question, question.choices)
    made = asker(responder).made_by("clip_questions")
    assert question.provenance.made_by == {
        "caption": "dataset:made",
        **dict.fromkeys(("question", "choices", "answer", "difficulty"), made),
    }
    assert responder.asked[0].audio is None


def test_the_prompt_tells_caption_labels_and_facts_but_not_what_cannot_be_heard() -> None:
    known = clip(
        1, caption="Somebody laughs.", facts={"key": "G minor", "bpm": 90, "speaker": "Chandler", "none": None}
    )
    _, responder, _ = write([ROW], [known], questions_per_clip=2, options_per_question=3, language="French")
    prompt = responder.asked[0].prompt
    for text in ("caption: Somebody laughs.", "label: Church bell", "key: G minor", "bpm: 90", "French"):
        assert text in prompt
    assert "Give 3 options" in prompt
    assert "write 2 multiple-choice" in prompt
    assert "Chandler" not in prompt
    assert "none:" not in prompt
    assert "order of events" in prompt


def test_a_writer_that_listens_gets_the_audio_even_of_clips_of_which_nothing_is_known() -> None:
    bare = clip(1, labels=())
    responder = Annotator(lambda _: json.dumps([ROW]))
    found = dict(write_questions([bare], asker(responder, listen=True), table()))
    assert isinstance(found[bare.id], list)
    assert responder.asked[0].audio is bare.audio
    aside = dict(write_questions([bare], asker(responder), table()))[bare.id]
    assert (aside.reason, aside.id) == (NOTHING_KNOWN, bare.id)
    assert len(responder.asked) == 1


def test_the_right_options_place_is_dealt_evenly_though_models_put_it_first() -> None:
    clips = [clip(n) for n in range(800)]
    found, _, _ = write([ROW], clips)
    places = Counter(found[c.id][0].answer_index for c in clips)
    assert all(150 < places[place] < 250 for place in range(4))
    again = dict(write_questions(clips[::-1], asker(Annotator(lambda _: json.dumps([ROW]), seed=5)), table()))
    assert again == found


REJECTED = {
    "missing question": ({"question": None}, WRONG_TYPE, '"question" must be a text'),
    "empty": ({"question": " "}, WRONG_SHAPE, "is empty"),
    "options as text": ({"options": "a dog, a cat"}, WRONG_TYPE, "must be a list of texts; found a text"),
    "option as number": ({"options": [1, "b", "c", "d"]}, WRONG_TYPE, "option 1 must be a text; found a number"),
    "three options": ({"options": ["a dog", "a cat", "a cow"]}, WRONG_SHAPE, "must have 4 texts; found 3"),
    "answer elsewhere": ({"answer": "a fox"}, WRONG_ANSWER, "must be the text of one option"),
    "answer as letter beyond": ({"answer": "E"}, WRONG_ANSWER, "must be the text"),
    "same": ({"options": ["a dog", "The Dog.", "a cow", "a hen"]}, checks.SAME_OPTIONS, "Options 1 and 2 are the same"),
    "same number": ({"options": ["two", "2", "3", "4"], "answer": "2"}, checks.SAME_OPTIONS, "are the same"),
    "no words": ({"options": ["a dog", "...", "a cow", "a hen"]}, checks.SAME_OPTIONS, "no words"),
    "same key": (
        {"options": ["A# minor", "B♭ Minor", "C major", "D major"], "answer": "C major"},
        checks.SAME_PITCH,
        "same pitch under two names",
    ),
    "all": ({"options": ["a dog", "a cat", "a cow", "All of the above"]}, checks.CATCH_ALL, "no answer of its own"),
    "none": ({"options": ["a dog", "a cat", "a cow", "None of these"]}, checks.CATCH_ALL, "no answer of its own"),
    "both": ({"options": ["a dog", "a cat", "a cow", "Both A and B"]}, checks.CATCH_ALL, "no answer of its own"),
    "unknown": ({"options": ["a dog", "a cat", "a cow", "Cannot be determined"]}, checks.CATCH_ALL, "Option 4"),
    "long gold": (
        {"options": ["a small dog that barks twice at a passing car", "a cat", "a cow", "a hen"], "answer": "(A)"},
        checks.LONG_GOLD,
        "about the same length",
    ),
    "caption": ({"question": "According to the caption, what is last?"}, checks.MENTIONS_TEXT, "'caption'"),
    "labels": ({"question": "What do the labels say is last?"}, checks.MENTIONS_TEXT, "'the labels'"),
    "description": ({"question": "Based on the description, what is last?"}, checks.MENTIONS_TEXT, "description"),
    "metadata": ({"question": "What is the genre in the metadata?"}, checks.MENTIONS_TEXT, "'metadata'"),
    "holds answer": ({"question": "When does the dog bark?"}, checks.HOLDS_ANSWER, "its own answer"),
    "skill": ({"skill": "telepathy"}, NO_SKILL, '"skill" must be one of sound source, order of events'),
    "tag": ({"question": "What is in <answer>?"}, "a text contains tags", "without tags"),
}


@pytest.mark.parametrize(("change", "reason", "says"), REJECTED.values(), ids=REJECTED)
def test_what_is_wrong_with_a_question_is_told(change, reason, says) -> None:
    with pytest.raises(Rejected) as raised:
        read_question(ROW | change, clip(1), table())
    assert raised.value.reason == reason
    assert says in raised.value.complaint


@pytest.mark.parametrize("key", ["question", "options", "answer", "skill"])
def test_a_missing_key_is_told(key) -> None:
    with pytest.raises(Rejected, match=f'the key "{key}" is missing') as raised:
        read_question({k: v for k, v in ROW.items() if k != key}, clip(1), table())
    assert raised.value.reason == WRONG_SHAPE


FINE = {
    "as asked": {},
    "a letter": {"answer": "A"},
    "a labelled answer": {"answer": "(A) a dog"},
    "labels of its own": {"options": ["A. a dog", "B. a cat", "C. a cow", "D. a hen"], "answer": "A. a dog"},
    "all options in the question": {"question": "Which comes last: a dog, a cat, a cow or a hen?"},
    "a choice of two": {"question": "Is the cat or the dog heard last?"},
    "what is said": {"question": "What follows from the information in the recording?"},
    "notes": {"options": ["A minor", "A major", "Ab major", "B minor"], "answer": "Ab major", "question": "Which key?"},
    "bass and Bb": {"options": ["Bass", "Bb", "B", "Base"], "answer": "B", "question": "What is it?"},
    "a text that is heard": {"question": "Which text message tone is heard last?"},
    "a record label": {"question": "What would be pressed on a record label for this?"},
    "a list": {"question": "What describes the sound best?"},
    "close numbers": {"options": ["1.5", "15", "-5", "5"], "answer": "5", "question": "How many?"},
}


@pytest.mark.parametrize("change", FINE.values(), ids=FINE)
def test_good_questions_pass(change) -> None:
    draft = read_question(ROW | change, clip(1), table())
    assert draft.gold in draft.options
    assert not any(option.startswith("A. ") for option in draft.options)


def test_a_name_that_is_not_heard_may_not_be_asked_for() -> None:
    row = ROW | {"question": "Why is Chandler so glad?"}
    spoken = {"speaker": "Chandler", "utterance": "I am so glad."}
    with pytest.raises(Rejected) as raised:
        read_question(row, clip(1, facts=spoken), table())
    assert raised.value.reason == checks.INAUDIBLE
    heard = spoken | {"utterance": "Hi, Chandler!"}
    assert read_question(row, clip(1, facts=heard), table()).question == row["question"]
    assert read_question(row, clip(1, facts=spoken), table(hidden_facts=[])).question == row["question"]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(Rejected) as raised:
        read_question(
            ROW | {"answer": "a fox", "question": "What does the caption say?", "skill": "x"}, clip(1), table()
        )
    assert raised.value.reason == WRONG_ANSWER
    for part in ("'a fox'", "'caption'", '"skill"'):
        assert part in raised.value.complaint


SHARPS = {"C#": "Db", "D#": "Eb", "F#": "Gb", "G#": "Ab", "A#": "Bb"}


@pytest.mark.parametrize(("sharp", "flat"), SHARPS.items())
@pytest.mark.parametrize("form", ["{}", "{} minor", "the key of {} major", "{}m7", "{}maj7"])
def test_two_names_of_one_pitch_are_the_same(sharp, flat, form) -> None:
    variants = [sharp, sharp.replace("#", "♯")] if "m7" in form or "maj7" in form else [sharp, f"{sharp[0]} sharp"]
    for name in variants:
        assert checks.pitch_form(form.format(name)) == checks.pitch_form(form.format(flat))
    assert checks.pitch_form(form.format(sharp)) != checks.pitch_form(form.format(sharp[0]))
    assert checks.pitch_form(form.format(flat)) != checks.pitch_form(form.format(flat[0]))


def test_words_are_no_pitches() -> None:
    for word in ("Bass", "Dog", "Baby", "Flute", "Bells", "Cabaret"):
        assert checks.pitch_form(word) == word.casefold()


def test_the_checks_find_the_known_faults_of_published_questions_and_few_others(shared_data) -> None:
    """Nearly all were looked at: they are faults. A check that had gone wild would find many more."""
    rows = json.loads((shared_data / "mmau" / "mmau-test-mini.v05.15.25.json").read_text(encoding="utf-8"))
    found = Counter()
    for row in rows:
        problems = [*checks.check_options(row["choices"]), *checks.check_wording(row["question"], row["choices"])]
        if row["answer"] in row["choices"] and not problems:
            problems += checks.check_gold(row["question"], row["choices"], row["answer"])
        found.update({reason for reason, _ in problems})
    assert found == {
        checks.SAME_OPTIONS: 27,
        checks.HOLDS_ANSWER: 12,
        checks.LONG_GOLD: 9,
        checks.MENTIONS_TEXT: 4,
        checks.CATCH_ALL: 2,
    }


def test_good_questions_are_kept_while_the_others_are_asked_again() -> None:
    rows = [ROW, ROW | {"answer": "a fox", "question": "Which is first?"}, ROW | {"question": "Which is loudest?"}]
    later = [ROW | {"question": "Which is first of all?"}]
    responder = Annotator(lambda r: json.dumps(later if annotator.is_again(r.prompt) else rows))
    tally = Tally()
    [(_, found)] = write_questions([clip(1)], asker(responder), table(questions_per_clip=3), tally=tally)
    assert [q.question for q in found] == [ROW["question"], "Which is loudest?", "Which is first of all?"]
    again = responder.asked[1].prompt
    assert "write 1 multiple-choice question about" in again
    assert f"* {ROW['question']}" in again
    assert "'a fox' is not" in again
    assert (tally.accepted, tally.asked_again, tally.short) == (1, 1, 0)


def test_fewer_questions_than_asked_for_are_better_than_none_and_counted() -> None:
    found, responder, tally = write([ROW], questions_per_clip=3)
    [questions] = found.values()
    assert [q.question for q in questions] == [ROW["question"]]
    assert len(responder.asked) == 3
    assert (tally.accepted, tally.short, tally.set_aside) == (1, 2, 0)
    assert set(tally.rejected) == {TOO_FEW, checks.REPEATED}


def test_more_questions_than_asked_for_are_left_out() -> None:
    found, responder, _ = write({"questions": [ROW, ROW | {"question": "Which is loudest?"}]})
    assert [q.question for [q] in found.values()] == [ROW["question"]]
    assert len(responder.asked) == 1


def test_a_clip_without_one_good_question_is_set_aside_with_the_last_complaint() -> None:
    found, responder, tally = write([ROW | {"answer": "a fox"}])
    [aside] = found.values()
    assert (aside.stage, aside.reason) == ("question", WRONG_ANSWER)
    assert "'a fox'" in aside.detail
    assert '[{"question"' in aside.detail
    assert len(responder.asked) == 3
    assert tally.rejected == {WRONG_ANSWER: 3}


@given(
    bad=st.lists(st.lists(st.integers(0, 30) | st.none(), min_size=3, max_size=3), max_size=6), seed=st.integers(0, 2)
)
def test_whatever_a_model_writes_each_clip_comes_out_once(bad, seed) -> None:
    """``bad`` holds, for each clip and try, which way of being wrong the answer has; None is right."""
    clips = {clip(n).id: (clip(n), kinds) for n, kinds in enumerate(bad)}

    def answer(request):
        name, _, attempt = request.id.partition("#")
        kind = clips[name][1][int(attempt or 1) - 1]
        return annotator.reply(request.prompt) if kind is None else annotator.spoil(request.prompt, kind)

    responder = Annotator(answer, seed=seed, most=3)
    found = list(write_questions([c for c, _ in clips.values()], asker(responder), table()))
    assert Counter(id_ for id_, _ in found) == dict.fromkeys(clips, 1)
    for id_, result in found:
        if None in clips[id_][1]:
            assert [type(q) for q in result] == [AudioQuestion]
        else:
            assert isinstance(result, SetAside)
    assert len({r.prompt + r.id for r in responder.asked}) == len(responder.asked)
