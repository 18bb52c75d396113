"""The texts that the tiny base reads: true answers, exact spans, the right loss."""

from __future__ import annotations

import random
import re
from collections import Counter
from functools import lru_cache
from itertools import count, cycle, pairwise

import pytest
import torch

from sari_train.models.base import AudioLM
from sari_train.models.load import wrap_model
from sari_train.models.tiny import TAGS, build_tiny
from sari_train.text_skills import MARKUP, SKILLS, Skill, Turn, ask, dialogue, recital
from sari_train.tiny_text import TextRow, draw_rows, encode_dialogue, encode_recital, skill_accuracy, text_loss


@lru_cache(maxsize=1)
def _lm() -> AudioLM:
    texts = ["The list is bark, rain, bell. What comes after bark? After bark comes rain. yes no again new 1 2 3"] * 3
    return wrap_model(*build_tiny(texts, seed=2), name="small")


def _check(items: list[str], question: str, answer: str) -> str:
    """Work the answer out from the words of the question alone; returns the kind of question."""
    if question == "Repeat it.":
        assert answer == ", ".join(items) + "."
    elif question == "Number it.":
        assert answer == ", ".join(f"{x} {i + 1}" for i, x in enumerate(items)) + "."
    elif found := re.fullmatch(r"What is (first|last)\?", question):
        assert answer.lower() == f"{found[1]} is {items[0 if found[1] == 'first' else -1]}."
    elif found := re.fullmatch(r"What comes after (.+)\?", question):
        assert answer == f"After {found[1]} comes {dict(pairwise(items))[found[1]]}."
    elif found := re.fullmatch(r"What comes before (.+)\?", question):
        assert answer == f"Before {found[1]} comes {dict(zip(items[1:], items, strict=False))[found[1]]}."
        return "before"
    elif found := re.fullmatch(r"Which of (.+) is in it\?", question):
        assert {*found[1].split(", ")} & {*items} == {answer.rstrip(".")}
    elif found := re.fullmatch(r"Is each of these in it\?(.+)", question, re.DOTALL):
        said = [x.rsplit(" ", 1) for x in answer.rstrip(".").split(", ")]
        assert [word for word, _ in said] == _read_list(found[1])
        assert all((verdict == "yes") == (word in items) for word, verdict in said)
    elif found := re.fullmatch(r"Mark each (.+)\.", question):
        said = [x.rsplit(" ", 1) for x in answer.rstrip(".").split(", ")]
        assert [word for word, _ in said] == items
        assert all((verdict == "yes") == (word == found[1]) for word, verdict in said)
        assert "yes" in answer
    elif found := re.fullmatch(r"Are (.+) and (.+) the same\?", question):
        if found[1] == "the first":
            assert answer.startswith(f"First is {items[0]}, last is {items[-1]}, ")
            assert ("not the same" not in answer) == (items[0] == items[-1])
            return "ends"
        assert answer == f"{found[1]} and {found[2]} are {'the same' if found[1] == found[2] else 'not the same'}."
        return "pair"
    elif found := re.fullmatch(r"How often is (.+) in it\?", question):
        assert answer == f"{found[1]} is in it {Counter(items)[found[1]]} times."
    elif question == "How many are there?":
        assert answer == f"There are {len(items)}."
    elif question == "Which are new?":
        said = [x.rsplit(" ", 1) for x in answer.rstrip(".").split(", ")]
        assert [word for word, _ in said] == items
        assert sum(verdict == "new" for _, verdict in said) == len(set(items))
        assert {word for word, verdict in said if verdict == "new"} == set(items)
    elif found := re.fullmatch(r"What is (\d+) plus (\d+)\?", question):
        assert answer == f"{found[1]} plus {found[2]} is {int(found[1]) + int(found[2])}."
        return "plus"
    else:
        found = re.fullmatch(r"Compare (\w+) with (\w+)\.", question)
        assert found, question
        a, b = (["low", "middle", "high"].index(x) if x.isalpha() else int(x) for x in found.groups())
        assert answer == f"{found[2]} is {'more' if b > a else 'less' if b < a else 'the same'}."
        return "compare"
    return " ".join(question.split()[:2])


def _read_list(text: str) -> list[str]:
    """Items after commas, after ``then``, or on lettered lines."""
    if "(A)" in text:
        return re.findall(r"\([A-F]\) (.+)\n", text)
    return text.strip().split(" then " if " then " in text else ", ")


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.__name__)
def test_every_answer_is_true_and_none_is_a_chain_of_thought(skill: Skill) -> None:
    rng = random.Random(0)
    kinds: Counter[str] = Counter()
    for _ in range(300):
        question, answer = ask(rng, skill)
        found = re.fullmatch(
            r"The list(?: is (?P<line>.+?)\.|:\n(?P<lines>(?:\(.\) .+?\n)+)) (?P<rest>.+)", question, re.S
        )
        assert found, question
        kinds[_check(_read_list(found["line"] or found["lines"]), found["rest"], answer)] += 1
        assert not any(tag in question + answer for tag in TAGS)
    assert 1 <= len(kinds) <= 2, "a question of another skill"


def test_a_dialogue_joins_answers_in_the_order_of_the_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = count()
    monkeypatch.setattr(
        "sari_train.text_skills.SKILLS", (lambda rng, listing: (f"Q{(n := next(numbers))}?", f"A{n}."),)
    )
    rng = random.Random(0)
    marked, sizes = 0, Counter[int]()
    for _ in range(300):
        for question, answer in dialogue(rng):
            asked, said = re.findall(r"Q(\d+)\?", question), re.findall(r"A(\d+)\.", answer)
            assert asked == said
            sizes[len(asked)] += 1
            wanted = re.findall(r"<(\w+)></(\w+)>", question)
            marked += bool(wanted)
            if wanted:
                told = re.fullmatch(
                    "".join(rf"<{tag}>A{n}\.</{tag}>" for (tag, _), n in zip(wanted, said, strict=True)), answer
                )
                assert told, answer
                assert {tag for tag, _ in wanted} <= set(MARKUP)
            else:
                assert answer == " ".join(f"A{n}." for n in said)
            assert "<think>" not in answer
            assert "<answer>" not in answer
    assert set(sizes) == {1, 2, 3}
    assert 0.25 < marked / sizes.total() < 0.42


def test_a_recital_says_the_same_words_twice() -> None:
    rng = random.Random(1)
    lm = _lm()
    for _ in range(50):
        text = recital(rng)
        row = encode_recital(lm, text)
        half = len(row.ids) // 2
        assert row.ids[:half] == row.ids[half:]
        assert lm.tokenizer.decode(row.ids) == text * 2
        assert row.learned == ((half + 1, 2 * half),), "the first token of the second time cannot be known"


@pytest.mark.parametrize("seed", range(5))
def test_a_dialogue_is_tokenised_as_the_chat_template_renders_it(seed: int) -> None:
    lm = _lm()
    turns = dialogue(random.Random(seed))
    row = encode_dialogue(lm, turns)
    messages = [
        {"role": role, "content": said}
        for turn in turns
        for role, said in zip(("user", "assistant"), turn, strict=True)
    ]
    whole = lm.processor.apply_chat_template(messages, tokenize=False)
    assert list(row.ids) == lm.tokenizer(whole.rstrip("\n"), add_special_tokens=False)["input_ids"]
    said = [lm.tokenizer.decode(row.ids[begin:end]) for begin, end in row.learned]
    assert said == [answer + "<|im_end|>" for _, answer in turns]


def test_the_loss_is_that_of_transformers() -> None:
    lm = _lm()
    rows = draw_rows(lm, random.Random(3), 6, recitals=0.5)
    with torch.no_grad():
        ours = text_loss(lm, rows).item()
        theirs = sum(_reference_loss(lm, row) for row in rows)
    assert ours == pytest.approx(theirs, rel=1e-5)
    shifted = [TextRow(row.ids, tuple((b - 1, e - 1) for b, e in row.learned)) for row in rows]
    with torch.no_grad():
        assert text_loss(lm, shifted).item() != pytest.approx(theirs, rel=1e-4)


def _reference_loss(lm: AudioLM, row: TextRow) -> float:
    labels = torch.full((1, len(row.ids)), -100)
    for begin, end in row.learned:
        labels[0, begin:end] = torch.tensor(row.ids[begin:end])
    out = lm.model(input_ids=torch.tensor([row.ids]), attention_mask=torch.ones(1, len(row.ids)), labels=labels)
    return out.loss.item() * row.tokens


def test_accuracy_counts_what_greedy_decoding_gets_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that knows two answers by heart, and is asked those and a third."""
    known: list[Turn] = [
        ("The list is bark. Repeat it.", "bark."),
        ("The list is rain. How many are there?", "There are 1."),
    ]
    asked = [*known, ("The list is bell. Number it.", "bell 1.")]
    lm = wrap_model(*build_tiny([" ".join(turn) for turn in asked], seed=2), name="small")
    rows = [encode_dialogue(lm, [turn]) for turn in known]
    optimizer = torch.optim.AdamW(lm.model.model.language_model.parameters(), lr=3e-3)
    for _ in range(60):
        text_loss(lm, rows).backward()
        optimizer.step()
        optimizer.zero_grad()
    coming = cycle(asked)

    def one(rng: random.Random, skill: Skill) -> Turn:
        return next(coming)

    monkeypatch.setattr("sari_train.tiny_text.ask", one)
    monkeypatch.setattr("sari_train.tiny_text.SKILLS", SKILLS[:2])
    assert skill_accuracy(lm, 3, seed=0) == {"all": 2 / 3, "repeat": 2 / 3, "number": 2 / 3}
    for turn, row in zip(asked, [*rows, encode_dialogue(lm, [asked[2]])], strict=True):
        ((begin, end),) = row.learned
        given = torch.tensor([row.ids[:begin]])
        said = lm.model.generate(
            input_ids=given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=end - begin
        )[0, begin:]
        assert (said.tolist() == list(row.ids[begin:end])) == (turn in known)
