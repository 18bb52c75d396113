"""The rewards: what each gives for which response, and how their failures are told."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sari_data.answers import read_response
from sari_data.errors import InputError, TemplateError
from sari_data.options import Options
from sari_data.prompting import list_modes, render_target
from sari_data.types import AudioQuestion, AudioRef
from sari_train.rewards import Sample, Settings, check_rewards, list_rewards, load_rewards, score

QUESTION = AudioQuestion(
    id="q1",
    audio=AudioRef(path="a.wav"),
    question="Which sound is loudest?",
    choices=("hot dog", "bell", "dog", "horn"),
    answer="bell",
    domain="sound",
)


def structured(summary: str, answer: str, thought: str = "one two three") -> str:
    return (
        f"<think><planning>{thought}</planning><caption>c</caption><reasoning>r</reasoning>"
        f"<summary>{summary}</summary></think><answer>{answer}</answer>"
    )


def one(name: str, text: str, *, mode: str = "structured", reason: str = "stop", **settings: Any) -> float:
    """One reward of one response to the question about the bell."""
    rewards = load_rewards([name], Settings(mode, **settings))
    return score(Sample(QUESTION, mode, text, reason), {name: 1.0}, rewards)[0]


def test_accuracy_and_format_are_the_grader_and_the_grammar() -> None:
    weights = {"accuracy": 2.0, "format": 1.0}
    rewards = load_rewards(weights, Settings("structured"))
    good = structured("it is the bell", "bell")
    cases = [
        (good, "stop", 3.0, {"accuracy": 1.0, "format": 1.0}),
        ("<answer>(B)</answer>", "stop", 2.0, {"accuracy": 1.0, "format": 0.0}),
        (structured("it is the bell", "dog"), "stop", 1.0, {"accuracy": 0.0, "format": 1.0}),
        ("no idea", "stop", 0.0, {"accuracy": 0.0, "format": 0.0}),
        (good[: good.index("</answer>")], "length", 0.0, {"accuracy": 0.0, "format": 0.0}),
    ]
    for text, reason, total, parts in cases:
        assert score(Sample(QUESTION, "structured", text, reason), weights, rewards) == (total, parts)


@pytest.mark.parametrize("mode", list_modes())
def test_the_gold_target_of_a_scene_earns_all_that_the_default_asks(
    mode: str, scene_questions: list[AudioQuestion]
) -> None:
    weights = {"accuracy": 2.0, "format": 1.0}
    rewards = load_rewards(weights, Settings(mode))
    for question in scene_questions:
        assert score(Sample(question, mode, render_target(question, mode), "stop"), weights, rewards)[0] == 3.0


def test_length_is_full_up_to_the_bound_of_ke_omni_r() -> None:
    def response(words: int) -> str:
        return f"<think>{' '.join(['word'] * words)}</think><answer>bell</answer>"

    found = {n: one("length", response(n), mode="unstructured") for n in (0, 1, 49, 50, 51, 200)}
    assert found == {0: 0.0, 1: 1.0, 49: 1.0, 50: 1.0, 51: 0.0, 200: 0.0}
    assert one("length", response(51), mode="unstructured", thought_words=51) == 1.0


def test_length_counts_the_words_of_all_sections_of_the_thought_and_no_tags() -> None:
    # 3 of the planning, 1 and 1, 2 of the summary.
    text = structured("the bell", "bell")
    assert one("length", text, thought_words=7) == 1.0
    assert one("length", text, thought_words=6) == 0.0
    # The answer is no part of the thought, nor is what stands outside it.
    longer = structured("the bell", "b e l l and more of it") + " and more words after it"
    assert one("length", longer, thought_words=7) == 1.0


def test_a_thought_that_was_cut_has_no_known_length() -> None:
    text = "<think>a few words"
    assert one("length", text, mode="unstructured", reason="length") == 0.0
    assert one("length", text, mode="unstructured", reason="stop") == 1.0
    # Cut in the answer: the thought had ended.
    assert one("length", "<think>a few words</think><answer>be", mode="unstructured", reason="length") == 1.0


@pytest.mark.parametrize(
    ("summary", "answer", "expected"),
    [
        ("bell", "bell", 1.0),
        ("(B)", "bell", 1.0),
        ("The bell is loudest.", "bell", 1.0),
        ("So the answer is (B).", "bell", 1.0),
        ("The bell is loudest.", "B", 1.0),
        ("The BELL is loudest, the bell!", "bell", 1.0),
        # It agrees with the answer that was given, right or wrong.
        ("The horn is loudest.", "horn", 1.0),
        ("The bell is loudest.", "horn", 0.0),
        ("The horn is loudest.", "bell", 0.0),
        ("So the answer is (D).", "bell", 0.0),
        # The longest text counts: "hot dog" does not name "dog".
        ("It is the hot dog.", "hot dog", 1.0),
        ("It is the hot dog.", "dog", 0.0),
        # Nothing is guessed: several options, or none.
        ("The bell is louder than the horn.", "bell", 0.0),
        ("bell, horn, dog, hot dog", "bell", 0.0),
        ("It is (B) horn.", "bell", 0.0),
        ("It is the loudest.", "bell", 0.0),
        ("The bells are loudest.", "bell", 0.0),
        # Without an answer there is nothing to agree with.
        ("The bell is loudest.", "what is loudest", 0.0),
    ],
)
def test_consistency_compares_summary_and_answer(summary: str, answer: str, expected: float) -> None:
    assert one("consistency", structured(summary, answer)) == expected


def test_consistency_without_a_summary_or_an_answer_is_zero() -> None:
    assert one("consistency", "<answer>bell</answer>") == 0.0
    assert one("consistency", "<think><summary>bell</summary></think>") == 0.0
    # Tags left open and in another case are read as everywhere.
    assert one("consistency", "<THINK><SUMMARY>It is the bell<ANSWER>bell") == 1.0


def test_the_options_that_a_sentence_names() -> None:
    options = Options(("dog", "cat", "1.5", "short long short", "don't know"))
    assert options.named("The dog, not the cat, barks.") == {0, 1}
    assert options.named("After 1.5 seconds; 1 or 5 are not options.") == {2}
    assert options.named("(a) or [C]") == {0, 2}
    assert options.named("a short long short rhythm") == {3}
    assert options.named("We dont know.") == {4}
    assert options.named("") == options.named("dogs and cats") == frozenset()
    assert Options(("dog", "the dog")).named("It is a dog.") == {0, 1}
    assert Options(("dog", "dog bark")).named("It is a dog bark.") == {1}
    labelled = Options(("A. dog", "B. cat"))
    assert labelled.named("It is a dog.") == labelled.named("It is A. dog") == {0}
    # What the reader of answers reads, the sentence names too.
    for text in ("(B) cat", "cat", "B. cat"):
        choice = read_response(f"<answer>{text}</answer>", ("A. dog", "B. cat")).choice
        assert choice is not None
        assert choice in labelled.named(f"So it is {text}.")


@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        ("length", "direct", "mode 'direct' has none: train in a mode with a thought, or take 'length' out"),
        ("consistency", "direct", "mode 'direct' has no summary section .it has answer.: train in mode structured"),
        ("consistency", "unstructured", "mode 'unstructured' has no summary section .it has think, answer."),
    ],
)
def test_a_reward_that_does_not_suit_the_mode_is_refused_before_anything_is_sampled(
    name: str, mode: str, expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        load_rewards([name], Settings(mode))


def test_a_mode_of_the_users_own_with_a_summary_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "modes" / "terse"
    folder.mkdir(parents=True)
    (folder / "prompt.jinja").write_text("{{ question.question }}")
    (folder / "target.jinja").write_text(
        "<summary>{{ question.answer }}</summary><answer>{{ question.answer }}</answer>"
    )
    (folder / "grammar.toml").write_text('sections = ["summary", "answer"]\nneeds = ["answer"]\n')
    monkeypatch.setenv("SARI_TEMPLATES", str(tmp_path))
    text = render_target(QUESTION, "terse")
    assert one("consistency", text, mode="terse") == one("length", text, mode="terse", thought_words=1) == 1.0
    assert one("consistency", text.replace("<answer>bell", "<answer>horn"), mode="terse") == 0.0


def test_unknown_names_and_modes_are_told() -> None:
    assert list_rewards() == ["accuracy", "consistency", "format", "length"]
    check_rewards(list_rewards())
    for check in (check_rewards, lambda names: load_rewards(names, Settings("direct"))):
        with pytest.raises(
            InputError, match=r"reward 'acuracy' is not registered; found \['accuracy', 'consistency', 'fo"
        ):
            check(["format", "acuracy"])
    with pytest.raises(TemplateError, match="no-such-mode"):
        load_rewards(["length"], Settings("no-such-mode"))


def failing(sample: Sample) -> float:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        (failing, "failed with ZeroDivisionError: division by zero"),
        (lambda sample: math.nan, "returned nan, not a finite number"),
        (lambda sample: -math.inf, "returned -inf, not a finite number"),
        (lambda sample: None, "returned None, not a finite number"),
        (lambda sample: "1.0", "returned '1.0', not a finite number"),
        (lambda sample: 1j, "returned 1j, not a finite number"),
    ],
)
def test_a_reward_that_fails_stops_with_the_sample_and_is_never_zero(
    reward: Callable[[Sample], float], expected: str
) -> None:
    sample = Sample(QUESTION, "structured", "the very text", "length")
    with pytest.raises(InputError) as error:
        score(sample, {"broken": 0.0}, {"broken": reward})
    for part in ("reward 'broken'", expected, "question 'q1'", "'the very text' (length)", "repair the reward"):
        assert part in str(error.value)


def test_numbers_of_any_kind_are_rewards_and_come_back_as_floats() -> None:
    rewards: Any = {"a": lambda s: np.float32(0.5), "b": lambda s: True, "c": lambda s: -2}
    total, parts = score(Sample(QUESTION, "direct", "bell", "stop"), {"a": 2.0, "b": 0.0, "c": 1.0}, rewards)
    assert (total, parts) == (-1.0, {"a": 0.5, "b": 1.0, "c": -2.0})
    assert {type(part) for part in parts.values()} == {float}


def test_a_question_without_an_answer_cannot_be_rewarded() -> None:
    sample = Sample(QUESTION.replace(answer=None), "direct", "<answer>bell</answer>", "stop")
    with pytest.raises(
        InputError, match="reward 'accuracy' failed with InputError: question 'q1': its answer is withheld"
    ):
        score(sample, {"accuracy": 1.0}, load_rewards(["accuracy"], Settings("direct")))
