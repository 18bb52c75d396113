"""Chains of thought: what is accepted, what is rejected and why, and what the judge changes."""

import json
import time
from collections import Counter

import annotator
import pytest
from annotator import Annotator, asker, question, table
from hypothesis import given
from hypothesis import strategies as st

from sari_data.annotate import Tally, write_chains
from sari_data.annotation import chain_checks as checks
from sari_data.annotation import chains
from sari_data.annotation.asking import CUT_OFF
from sari_data.annotation.chains import read_chain
from sari_data.annotation.judge import DISAGREES
from sari_data.annotation.reading import WRONG_FORM, Rejected
from sari_data.answers import follows_grammar, grade
from sari_data.prompting import render_target
from sari_data.sources.base import SetAside
from sari_data.sources.scenes import Options, generate
from sari_data.types import Reasoning, StructuredReasoning

PLANNING = "I listen for the animals and note their order."
CAPTION = "A cat meows, and then a dog barks twice."
REASONING = "The bark comes after the meow, and nothing follows it; no cow or hen is heard."
SUMMARY = "The last animal is the dog."


def structured(planning=PLANNING, caption=CAPTION, reasoning=REASONING, summary=SUMMARY, answer="a dog") -> str:
    return (
        f"<think><planning>{planning}</planning><caption>{caption}</caption><reasoning>{reasoning}</reasoning>"
        f"<summary>{summary}</summary></think><answer>{answer}</answer>"
    )


def unstructured(thought=f"I listen. {CAPTION} {REASONING} So it is the dog.", answer="a dog") -> str:
    return f"<think>{thought}</think><answer>{answer}</answer>"


def read(text, form="structured", asked=None):
    return read_chain(text, asked or question(), form, 100)


@pytest.mark.parametrize("answer", ["a dog", "A dog.", "B", "(B)", "(B) a dog"])
def test_a_good_chain_is_read_and_its_target_can_be_learnt(answer) -> None:
    chain = read(f"Sure!\n```\n{structured(answer=answer)}\n```")
    assert chain == StructuredReasoning(PLANNING, CAPTION, REASONING, SUMMARY)
    done = question(reasoning=Reasoning(structured=chain))
    target = render_target(done, "structured")
    assert follows_grammar(target, "structured")
    assert grade(target, done).correct


def test_a_free_thought_keeps_its_paragraphs() -> None:
    assert read(unstructured("I  listen.\n\n It barks. "), "unstructured") == "I listen.\nIt barks."


WRONG = {
    "no form": ("The last is a dog.", WRONG_FORM),
    "no planning": (structured().replace(f"<planning>{PLANNING}</planning>", ""), WRONG_FORM),
    "empty summary": (structured(summary=" "), WRONG_FORM),
    "tags within": (structured(reasoning="It is <answer>a dog</answer>."), WRONG_FORM),
    "wrong answer": (structured(answer="a cat"), chains.WRONG_ANSWER),
    "wrong letter": (structured(answer="(A)"), chains.WRONG_ANSWER),
    "no option": (structured(answer="a fox"), chains.NO_ANSWER),
    "letter and text differ": (structured(answer="(A) a dog"), chains.NO_ANSWER),
    "planning names it": (structured("I check that the dog is last."), checks.NAMES_GOLD),
    "planning weighs some": (structured("I check whether a dog or a cat is last."), checks.NAMES_GOLD),
    "planning letter": (structured("I look at option B first of all."), checks.NAMES_GOLD),
    "planning bracket": (structured("I have to check (C) with care."), checks.NAMES_GOLD),
    "caption answers": (structured(caption=f"{CAPTION} The answer is a dog."), checks.NAMES_GOLD),
    "caption letter": (structured(caption=f"{CAPTION} That fits (B)."), checks.NAMES_GOLD),
    "other answer": (structured(summary="So the answer is a cat."), checks.OTHER_ANSWER),
    "other answer, letter": (structured(summary="So the answer is (C)."), checks.OTHER_ANSWER),
    "other answer, bare letter": (structured(summary="So the correct answer is C."), checks.OTHER_ANSWER),
    "other answer, adverb": (structured(summary="The right answer is clearly C."), checks.OTHER_ANSWER),
    "so it is": (structured(reasoning="It barks at the end. So it must be (C)."), checks.OTHER_ANSWER),
    "another summary": (structured(summary="All in all the cow comes last."), checks.OTHER_ANSWER),
    "chooses another": (structured(reasoning="From all this I choose the hen, no doubt."), checks.OTHER_ANSWER),
    "letter of another": (structured(reasoning="It barks, so (A) a dog fits best here."), checks.OTHER_LETTER),
    "letter after": (structured(reasoning="It barks, so a dog (A) fits best here."), checks.OTHER_LETTER),
    "option A is": (structured(reasoning="It barks, and option A is the dog."), checks.OTHER_LETTER),
    "no such letter": (structured(reasoning="It barks, and so option F is out of the question."), checks.OTHER_LETTER),
    "given answer": (structured(reasoning="It barks, as the given answer says."), checks.TOLD),
    "as provided": (structured(reasoning="The right option, as provided, is the one that fits."), checks.TOLD),
    "answer provided": (structured(summary="That is the answer that was provided."), checks.TOLD),
    "told": (structured(reasoning="We are told that it barks at the end."), checks.TOLD),
    "ground truth": (structured(reasoning="The ground truth has a bark at the end."), checks.TOLD),
    "the caption": (structured(reasoning="The caption says that it barks."), checks.READS_TEXT),
    "description": (structured(reasoning="The description mentions a bark."), checks.READS_TEXT),
    "from the text": (structured(reasoning="Based on the text it barks."), checks.READS_TEXT),
    "too short": (structured(reasoning="It barks."), checks.TOO_SHORT),
    "too long": (structured(reasoning=" ".join(f"word{n}" for n in range(300))), checks.TOO_LONG),
    "circles": (structured(reasoning="and then it barks again " * 9), chains.CIRCLES),
}


@pytest.mark.parametrize(("text", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_structured_chain_is_told(text, reason) -> None:
    with pytest.raises(Rejected) as raised:
        read(text)
    assert raised.value.reason == reason
    assert raised.value.complaint.endswith(".")


FREE = {
    "answer first": (unstructured("The answer is a dog. I hear it bark. It is last. So it is."), checks.NAMES_GOLD),
    "one sentence": (unstructured("It barks at the end"), checks.TOO_SHORT),
    "other answer": (unstructured("I listen. It barks. So the answer is a cow."), checks.OTHER_ANSWER),
    "told": (unstructured("I listen. It barks, like the provided answer."), checks.TOLD),
    "structured": (structured(), WRONG_FORM),
    "wrong": (unstructured(answer="a hen"), chains.WRONG_ANSWER),
}


@pytest.mark.parametrize(("text", "reason"), FREE.values(), ids=FREE)
def test_what_is_wrong_with_a_free_thought_is_told(text, reason) -> None:
    with pytest.raises(Rejected) as raised:
        read(text, "unstructured")
    assert raised.value.reason == reason


FINE = {
    "caption has the gold's words": structured(caption="A dog barks."),
    "planning weighs all": structured("I find out whether a cat, a dog, a cow or a hen is last."),
    "ruling out": structured(reasoning="The answer is not a cat, since it meows before the bark."),
    "letters of their own": structured(reasoning="It barks, so (A) a cat is out, and option B, a dog, remains."),
    "rules out at the end": structured(summary="Since it is not the cat, what remains is the barking one."),
    "so it is": structured(reasoning="It barks at the end. So it must be (B)."),
    "answer at the end": structured(summary="So the answer is (B) a dog."),
    "which answer": structured("I need to decide which answer is right."),
    "a caption as such": structured(caption="First I put into words what sounds: a dog barks."),
    "answer options": structured("I compare what sounds with the given answer options."),
}


@pytest.mark.parametrize("text", FINE.values(), ids=FINE)
def test_good_chains_pass(text) -> None:
    assert read(text).planning


def test_options_that_are_notes_or_letters_are_not_taken_for_letters_of_options() -> None:
    keys = question(
        question="Which key is it?",
        choices=("C major", "A major", "E minor", "B minor"),
        answer="A major",
        caption="Music.",
    )
    text = structured(
        "I find the tonic and the third.",
        "The piece rests on A, with a C sharp above.",
        "The third is large and the tonic is A, which makes it bright.",
        "The answer is A major.",
        "A major",
    )
    assert read(text, asked=keys).summary == "The answer is A major."
    notes = keys.replace(choices=("C", "A", "E", "B"), answer="A")
    note = structured(
        "I find the lowest note.", "A low tone sounds.", "It has 220 hertz or so.", "The answer is A.", "A"
    )
    assert read(note, asked=notes).summary == "The answer is A."
    wrong = note.replace("The answer is A.", "The answer is C.")
    with pytest.raises(Rejected) as raised:
        read(wrong, asked=notes)
    assert raised.value.reason == checks.OTHER_ANSWER


def test_words_of_any_sentence_are_no_names_of_options() -> None:
    asked = question(question="When does it ring?", choices=("last", "first", "second"), answer="first")
    text = structured("First I find each ring, one after the other.", summary="At last it is clear.", answer="first")
    assert read(text, asked=asked).planning
    with pytest.raises(Rejected) as raised:
        read(text.replace("At last it is clear.", "So the answer is last."), asked=asked)
    assert raised.value.reason == checks.OTHER_ANSWER


def test_planning_may_name_what_the_question_names() -> None:
    asked = question(question="Is the last animal a dog?", choices=("yes", "a dog", "no", "two"))
    assert read(structured("I check whether a dog is last."), asked=asked)


@given(text=st.text(max_size=80), where=st.sampled_from(["planning", "caption", "reasoning", "summary"]))
def test_any_text_in_a_section_gives_a_chain_that_can_be_learnt_or_a_complaint(text, where) -> None:
    chain, rejected = annotator.attempt(read, structured(**{where: text}))
    if rejected is not None:
        assert rejected.complaint
        return
    done = question(reasoning=Reasoning(structured=chain))
    assert grade(render_target(done, "structured"), done).correct


def test_chains_that_are_right_by_construction_pass_but_for_their_shortness() -> None:
    """Chains of another hand: those that the scenes write from what they know."""
    options = Options.model_validate({"questions": {"sound": 20, "music": 20, "speech": 20}})
    found = Counter()
    for made in generate(options, 1):
        for form in ("structured", "unstructured"):
            _, rejected = annotator.attempt(read_chain, render_target(made, form), made, form, 200)
            found[rejected.reason if rejected else "passed"] += 1
    assert set(found) <= {"passed", checks.TOO_SHORT}
    assert found["passed"] > 100


@pytest.mark.parametrize(
    "piece", ["so ", "so it ", "(A) ", "(", "answer is ", "the given ", "a dog ", "x", ". ", "**A", "! "]
)
def test_checks_take_little_time_whatever_is_checked(piece) -> None:
    text = piece * (19_000 // len(piece))
    start = time.process_time()
    annotator.attempt(read, structured(text, text, text, text))
    assert time.process_time() - start < 2


def run(questions, answer=None, judge=None, seed=0, **changes):
    """The results, the writer, and the tally."""
    writer, tally = Annotator(answer, seed=seed), Tally()
    second = asker(Annotator(judge, seed=seed)) if judge else None
    found = list(write_chains(questions, asker(writer), second, table(**changes), tally=tally))
    assert Counter(id_ for id_, _ in found) == Counter(q.id for q in questions)
    return dict(found), writer, tally


def test_a_question_gets_both_forms_and_says_who_wrote_them() -> None:
    found, writer, tally = run([question()])
    done = found["q0001"]
    assert done.reasoning.structured.planning
    assert done.reasoning.unstructured
    assert done.provenance.made_by == {
        f"reasoning.{form}": asker(writer).made_by(f"chain_{form}") for form in ("structured", "unstructured")
    }
    assert (tally.asked, tally.accepted) == (2, 2)
    assert "<right>\na dog\n</right>" in writer.asked[0].prompt
    assert "(B) a dog" in writer.asked[0].prompt
    assert question().caption in writer.asked[0].prompt


def test_only_the_forms_that_are_wanted_and_lacking_are_asked_for() -> None:
    had = question(reasoning=Reasoning(unstructured="It barks."))
    found, writer, _ = run([had])
    assert found[had.id].reasoning.unstructured == "It barks."
    assert [annotator.task(r.prompt) for r in writer.asked] == ["structured"]
    found, writer, _ = run([had], chains=["unstructured"])
    assert found == {had.id: had}
    assert writer.asked == []


def test_a_writer_that_is_not_told_the_answer_must_find_it() -> None:
    found, writer, _ = run([question()], lambda r: structured(), chains=["structured"], tell_answer=False)
    assert "<right>" not in writer.asked[0].prompt
    assert found["q0001"].reasoning.structured is not None


def test_what_cannot_be_reasoned_about_is_set_aside_unasked() -> None:
    found, writer, _ = run([question(1, caption=None), question(2, answer=None)])
    assert found["q0001"].reason == chains.NO_CAPTION
    assert found["q0002"].reason == chains.NO_GOLD
    assert writer.asked == []


def test_a_question_without_the_first_form_is_not_asked_for_the_second() -> None:
    found, writer, _ = run([question()], lambda r: structured(answer="a cat"))
    assert found["q0001"].reason == chains.WRONG_ANSWER
    assert {annotator.task(r.prompt) for r in writer.asked} == {"structured"}
    assert len(writer.asked) == 3


def test_a_chain_that_was_cut_off_is_asked_again() -> None:
    found, writer, tally = run(
        [question()],
        lambda r: annotator.reply(r.prompt) if annotator.is_again(r.prompt) else (structured()[:90], "length"),
        chains=["structured"],
    )
    assert found["q0001"].reasoning.structured
    assert tally.rejected == {CUT_OFF: 1}
    assert "cut off" in writer.asked[1].prompt


def verdict(word, reason="It says so."):
    return json.dumps({"verdict": word, "reason": reason})


def test_a_judge_that_agrees_is_recorded() -> None:
    found, _, tally = run([question()], judge=lambda r: f"I think: {verdict('consistent')}")
    made = found["q0001"].provenance.made_by
    assert set(made) == {f"reasoning.{f}{j}" for f in ("structured", "unstructured") for j in ("", ".judge")}
    assert (tally.asked, tally.accepted) == (4, 4)
    assert found["q0001"].flags == ()


def test_a_chain_that_the_judge_refuses_is_written_again_with_the_judges_reason() -> None:
    judged = []

    def judge(request):
        judged.append(request.prompt)
        return verdict("inconsistent", "No dog barks.") if len(judged) == 1 else verdict("consistent")

    found, writer, tally = run([question()], judge=judge, chains=["structured"])
    assert found["q0001"].reasoning.structured
    assert len(writer.asked) == 2
    assert "A second reader disagrees: No dog barks." in writer.asked[1].prompt
    assert writer.asked[1].id == "q0001#2"
    assert tally.rejected == {DISAGREES: 1}


def test_a_judge_that_never_agrees_has_the_question_set_aside() -> None:
    found, writer, _ = run([question()], judge=lambda r: verdict("Inconsistent", "No dog barks."))
    aside = found["q0001"]
    assert (aside.stage, aside.reason, aside.detail) == ("reason", DISAGREES, "No dog barks.")
    assert len(writer.asked) == 3


def test_a_judge_that_disagrees_may_only_flag() -> None:
    found, writer, _ = run([question()], judge=lambda r: verdict("inconsistent"), judge_disagrees="flag")
    assert found["q0001"].flags == ("judge_disagrees",)
    assert len(writer.asked) == 2


def test_a_judge_that_gives_no_verdict_has_the_question_set_aside() -> None:
    found, _, _ = run([question()], judge=lambda r: "Looks fine.")
    assert isinstance(found["q0001"], SetAside)


@given(
    kinds=st.lists(st.lists(st.integers(0, 9) | st.none(), min_size=8, max_size=8), max_size=5),
    judges=st.lists(st.sampled_from(["consistent", "inconsistent", "maybe"]), min_size=3, max_size=3),
    seeds=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_whatever_is_answered_each_question_comes_out_once_and_order_changes_nothing(kinds, judges, seeds) -> None:
    questions = [question(n) for n in range(len(kinds))]

    def write(request):
        name, _, attempt = request.id.partition("#")
        form = annotator.task(request.prompt)
        kind = kinds[int(name[1:])][int(attempt or 1) - 1 + 4 * (form == "structured")]
        return annotator.reply(request.prompt) if kind is None else annotator.spoil(request.prompt, kind)

    def judge(request):
        return verdict(judges[sum(map(ord, request.prompt)) % 3])

    first, writer, _ = run(questions, write, judge, seeds[0])
    again, _, _ = run(questions, write, judge, seeds[1])
    assert first == again
    assert len({(r.id, r.prompt) for r in writer.asked}) == len(writer.asked)
    for result in first.values():
        assert isinstance(result, SetAside) or result.reasoning.structured
