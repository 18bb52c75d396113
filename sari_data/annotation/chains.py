"""Chains of thought: a language model reasons to the right option, in four sections or freely.

SARI (arXiv 2504.15900) had Qwen2.5-72B write both forms for its 2,000 SFT questions. What is learnt from a chain
is what it shows: so one that knows its answer beforehand, contradicts itself or could not be read back is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from sari_data.annotation.asking import OpenAsker, QuestionStage, Tally, Task, ask_window, task_windows
from sari_data.annotation.captions import goes_in_circles
from sari_data.annotation.chain_checks import check_length, check_structured, check_unstructured
from sari_data.annotation.config import Annotate
from sari_data.annotation.judge import DISAGREES, Judge, Verdict
from sari_data.annotation.reading import WRONG_FORM, Rejected, find_block, plain_text, reject_all
from sari_data.answers import follows_grammar, grade, read_response
from sari_data.errors import InputError
from sari_data.prompting import load_mode, render, render_target
from sari_data.sources.base import SetAside
from sari_data.types import AudioQuestion, StructuredReasoning

WRONG_ANSWER = "the chain's answer is not the right one"
NO_ANSWER = "the chain gives no answer"
NO_CAPTION = "the question has no caption to reason from"
NO_GOLD = "the question's answer is withheld"
CIRCLES = "the chain repeats itself"
JUDGE_FLAG = "judge_disagrees"

_SECTIONS = ("planning", "caption", "reasoning", "summary")
_MOST = 100_000  # characters of a section; how long a chain may be is told in words


class Chains(QuestionStage[AudioQuestion]):
    """The stage that asks for chains of one form, which is the name of a response mode too."""

    name = "reason"

    def __init__(self, form: str, asker: OpenAsker, table: Annotate) -> None:
        super().__init__(asker)
        self.form, self._table = form, table
        self.template = f"chain_{form}"
        self._made_by = asker.made_by(self.template)

    def prompt(self, item: AudioQuestion, kept: Any) -> str:
        """Return the prompt: the question, what is heard, and the right option where the writer is to know it."""
        return render(
            f"annotate/{self.template}.jinja",
            question=item,
            answer=item.answer if self._table.tell_answer else None,
            listen=self._asker.listen,
            words=self._table.chain_words,
            language=self._table.language,
        )

    def read(self, item: AudioQuestion, kept: Any, text: str) -> AudioQuestion:
        """Return the question with the chain that an answer gives."""
        chain = read_chain(text, item, self.form, self._table.chain_words)
        made_by = {**item.provenance.made_by, f"reasoning.{self.form}": self._made_by}
        return _with_chain(item, chain).replace(provenance=replace(item.provenance, made_by=made_by))


def write_chains(
    questions: Iterable[AudioQuestion],
    asker: OpenAsker,
    judge: OpenAsker | None,
    table: Annotate,
    *,
    tally: Tally | None = None,
) -> Iterator[tuple[str, AudioQuestion | SetAside]]:
    """Have the chains of thought written that the table wants and a question lacks, and judged.

    The forms are asked for one after the other; where one cannot be had the question is set aside without the next.
    A question that has all of them comes back as it is, and nobody is asked.

    Args:
        questions: What to reason about; taken in windows, in the caller's thread.
        asker: Who writes.
        judge: Who checks the chains against the caption; ``None``: nobody.
        table: What is asked for.
        tally: What was done is counted there; each form of chain and each verdict counts as asked.

    Yields:
        The id of every question, once and in any order, with the question or why it has no chains.

    Raises:
        InputError: An id comes twice.
        ResponderError: A responder answered what it was not asked, or left something out without saying why.
    """
    counts = tally or Tally()
    stages = [Chains(form, asker, table) for form in table.chains]
    for window in task_windows(questions, lambda question: question.id, Chains.items):
        ready: list[AudioQuestion] = []
        for task in window:
            lacking = [stage for stage in stages if getattr(task.item.reasoning, stage.form) is None]
            why = _unfit(task.item, asker) if lacking else None
            if why is not None:
                counts.set_aside += 1
                yield task.id, why
            elif lacking:
                ready.append(task.item)
            else:
                yield task.id, task.item
        for stage in stages:
            written: list[AudioQuestion] = []
            for question, result in _write_form(ready, stage, asker, judge, table, counts):
                if isinstance(result, SetAside):
                    yield question, result
                else:
                    written.append(result)
            ready = written
        yield from ((question.id, question) for question in ready)


def read_chain(text: str, question: AudioQuestion, form: str, most_words: int) -> StructuredReasoning | str:
    """Return the chain of a form (``structured``, ``unstructured``) that an answer gives.

    The answer is read as a model's answers are: by the grammar of the response mode of that name.

    Raises:
        Rejected: It has another form, another answer, or one of the checks finds fault with it.
    """
    mode = load_mode(form)
    block = find_block(text, mode)
    reading = read_response(block, question.choices)
    gold = question.answer
    assert gold is not None, "write_chains() sets such questions aside"
    if reading.choice is None:
        raise Rejected(NO_ANSWER, f"The <answer> must be the text of one option; found {reading.answer_text!r}.")
    if question.choices[reading.choice] != gold:
        raise Rejected(WRONG_ANSWER, f"The answer {reading.answer_text!r} is not the right one: reason again.")
    chain: StructuredReasoning | str
    if form == "structured":
        found = {name: _plain(reading.sections[f"think.{name}"], name) for name in _SECTIONS}
        chain, texts = StructuredReasoning(**found), list(found.values())
        reject_all(check_length(texts, most_words))
        problems = list(check_structured(found, question.question, question.choices, gold))
    else:
        chain = _plain(reading.sections["think"], "thought")
        texts = [chain]
        reject_all(check_length(texts, most_words))
        problems = list(check_unstructured(chain, question.choices, gold))
    if any(goes_in_circles(part) for part in texts):
        problems.append((CIRCLES, "The chain says the same thing again and again: say each thing once."))
    reject_all(problems)
    _check_target(_with_chain(question, chain), form)
    return chain


def _with_chain(question: AudioQuestion, chain: StructuredReasoning | str) -> AudioQuestion:
    if isinstance(chain, str):
        return question.replace(reasoning=replace(question.reasoning, unstructured=chain))
    return question.replace(reasoning=replace(question.reasoning, structured=chain))


def _check_target(question: AudioQuestion, form: str) -> None:
    """Make sure that what a model would learn has the mode's form and is graded as right."""
    try:
        target = render_target(question, form)
    except InputError as error:
        raise Rejected(WRONG_FORM, f"The chain cannot be read back: {error}.") from error
    if not follows_grammar(target, form) or not grade(target, question).correct:
        raise Rejected(WRONG_FORM, "The chain cannot be read back: write plain text in the sections.")


def _plain(text: str, what: str) -> str:
    # Paragraphs of a thought are part of it; plain_text checks what it would make one line of.
    plain_text(text, f"the {what}", most=_MOST)
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


def _write_form(
    questions: list[AudioQuestion],
    stage: Chains,
    asker: OpenAsker,
    judge: OpenAsker | None,
    table: Annotate,
    counts: Tally,
) -> Iterator[tuple[str, AudioQuestion | SetAside]]:
    """Write one form for the questions that lack it; a chain that the judge refuses is written again."""
    tasks: list[Task[AudioQuestion]] = []
    for question in questions:
        if getattr(question.reasoning, stage.form) is None:
            tasks.append(Task(question, question.id))
        else:
            yield question.id, question
    first = {task.id: task for task in tasks}
    while tasks:
        written: list[Task[AudioQuestion]] = []
        for id_, result in ask_window(tasks, stage, asker, counts):
            if isinstance(result, SetAside) or judge is None or not (result.caption or judge.listen):
                yield id_, result
            else:
                written.append(Task(result, id_))
        tasks = []
        if judge is None or not written:
            continue
        chains = {task.id: task.item for task in written}
        for id_, verdict in ask_window(written, Judge(stage.form, judge, table), judge, counts):
            if isinstance(verdict, SetAside):
                yield id_, verdict
                continue
            judged = _record(chains[id_], stage.form, verdict)
            if verdict.consistent:
                yield id_, judged
            elif table.judge_disagrees == "flag":
                yield id_, judged.replace(flags=tuple(dict.fromkeys((*judged.flags, JUDGE_FLAG))))
            elif first[id_].attempt < asker.tries:
                counts.rejected[DISAGREES] += 1
                counts.asked_again += 1
                first[id_].reject(f"A second reader disagrees: {verdict.reason}", render_target(judged, stage.form))
                tasks.append(first[id_])
            else:
                counts.rejected[DISAGREES] += 1
                counts.set_aside += 1
                yield id_, _refused(judged, verdict)


def _record(question: AudioQuestion, form: str, verdict: Verdict) -> AudioQuestion:
    made_by = {**question.provenance.made_by, f"reasoning.{form}.judge": verdict.made_by}
    return question.replace(provenance=replace(question.provenance, made_by=made_by))


def _unfit(question: AudioQuestion, asker: OpenAsker) -> SetAside | None:
    if question.answer is None:
        reason, detail = NO_GOLD, "a chain is only written to a known answer: give it, or leave the question out"
    elif not question.caption and not asker.listen:
        reason, detail = (
            NO_CAPTION,
            "the writer would have to make up what is heard: caption it, or let the writer listen",
        )
    else:
        return None
    return SetAside(stage=Chains.name, reason=reason, id=question.id, provenance=question.provenance, detail=detail)


def _refused(question: AudioQuestion, verdict: Verdict) -> SetAside:
    return SetAside(
        stage=Chains.name, reason=DISAGREES, id=question.id, provenance=question.provenance, detail=verdict.reason
    )
