"""``judge``: another model says which option a response concludes; whether that is right is looked up here.

The judge is shown the question, its options and the response, never the right answer, so it cannot lean towards it: it
reads, and does not grade. What it says is read by the strict part of our reader. A verdict that cannot be read is
asked for once more; then the response is ``unparsed``. Verdicts are stored with their raw text under a hash of judge,
template, question, options and response, and never asked for twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sari_bench.scorers.base import Said, Verdict, chosen, unread, unscorable
from sari_bench.scorers.verdicts import Kind, Only, StoredVerdict, VerdictStore, one_judge, verdict_key
from sari_data.answers import EMPTY, read_response
from sari_data.errors import InputError, ResponderError
from sari_data.options import loose_form
from sari_data.prompting import ANSWER, render, template_hash
from sari_data.responder import Request, Responder, Response, Sampling

TEMPLATE = "judge/conclusion.jinja"
NOTHING = "the judge finds no conclusion"
UNREADABLE = "the judge's verdict cannot be read"

# Greedy, and long enough for a judge that thinks before it answers.
SAMPLING = Sampling(temperature=0.0, max_new_tokens=1024)


class JudgeScorer:
    """Scores by verdicts that are stored.

    Args:
        store: The verdicts.
        only: Which responses were to be judged; those left to ``answer`` are graded as it grades them.
    """

    name = "judge"
    drops_missing = False

    def __init__(self, store: VerdictStore, only: Only) -> None:
        self._store, self._only = store, only
        self._template = template_hash(TEMPLATE)

    @property
    def notes(self) -> tuple[str, ...]:
        """Who judged what."""
        what = "every response" if self._only == "all" else "the responses that 'answer' cannot read"
        return (f"{self._store.judge} judged {what} (template {self._template}) without seeing the right answers",)

    def key(self, said: Said) -> str | None:
        """Return the key of the verdict that an answer needs, or ``None`` where it needs none."""
        text, gold = said.answer.text, said.gold
        if unscorable(said) is not None or text is None or not text.strip():
            return None
        if self._only == "unread" and said.reading.choice is not None:
            return None
        return verdict_key(self._store.judge, self._template, gold.question, gold.choices, text)

    def verdict(self, said: Said) -> Verdict:
        """Return the stored verdict, as an outcome.

        Raises:
            InputError: There is no verdict on this response.
        """
        beforehand = unscorable(said)
        if beforehand is not None:
            return beforehand
        key = self.key(said)
        if key is None:
            reading = said.reading
            return unread(said, EMPTY) if reading.choice is None else chosen(said.gold, reading.choice)
        found = self._store.get(key)
        if found is None or found.kind == "again":
            raise InputError(
                f"{self._store.path} has no verdict on the response to {said.gold.id!r}: "
                "name who judges with --judge RESPONDER; only what is not stored is asked"
            )
        if found.choice is not None:
            if found.choice >= len(said.gold.choices):
                raise InputError(f"{self._store.path} gives {said.gold.id!r} an option that it lacks: restore the file")
            return chosen(said.gold, found.choice)
        return unread(said, NOTHING if found.kind == "none" else UNREADABLE)


def stored_judge(folder: Path | None, name: str | None = None, only: Only | None = None) -> JudgeScorer:
    """Return the scorer by the verdicts that a folder keeps; nobody is asked.

    Raises:
        InputError: The folder keeps no verdicts, or those of several judges.
    """
    if folder is None:
        raise InputError("scorer 'judge' needs stored verdicts: score a run folder or a prediction file that has them")
    store = VerdictStore(folder, one_judge(folder, name))
    return JudgeScorer(store, only or store.only)


@dataclass(frozen=True, slots=True)
class Asked:
    """How many verdicts were asked for now, and how many were there already."""

    asked: int
    stored: int


def ask_judge(
    said: Sequence[Said],
    responder: Responder,
    folder: Path,
    only: Only = "all",
    on_verdict: Callable[[], object] = lambda: None,
) -> tuple[JudgeScorer, Asked]:
    """Ask a judge about the responses on which it has not judged yet, and return the scorer.

    Args:
        said: Answers with their questions.
        responder: The judge; it is asked about text alone.
        folder: Where its verdicts are kept.
        only: ``unread`` leaves the responses that ``answer`` reads to it.
        on_verdict: Called after each verdict.

    Raises:
        ResponderError: It cannot answer, or leaves responses out.
        StorageError: A verdict cannot be kept.
    """
    store = VerdictStore(folder, responder.name)
    scorer = JudgeScorer(store, only)
    due: dict[str, Said] = {}
    kept = set()
    for one in said:
        key = scorer.key(one)
        known = None if key is None else store.get(key)
        if known is not None and known.kind != "again":
            kept.add(known.key)
        elif key is not None:
            due.setdefault(key, one)
    try:
        # Twice: the second time only those whose first verdict could not be read.
        for _ in range(2):
            for verdict in _verdicts(due, responder, store, only):
                store.add(verdict)
                if verdict.kind != "again":
                    on_verdict()
    finally:
        store.close()
    return scorer, Asked(len(due), len(kept))


def _verdicts(due: dict[str, Said], responder: Responder, store: VerdictStore, only: Only) -> Iterator[StoredVerdict]:
    """Ask about what has no final verdict yet, and yield each one as it comes in."""
    open_keys = [key for key in due if (found := store.get(key)) is None or found.kind == "again"]
    keys: dict[str, str] = {}
    requests = []
    for key in open_keys:
        request = _request(key, due[key], store.get(key))
        if request.id in keys:  # "a#1" may be a question's own id
            request = replace(request, id=f"{request.id}-{key[:8]}")
        keys[request.id] = key
        requests.append(request)
    if not requests:
        return
    template = template_hash(TEMPLATE)
    for response in responder.respond(requests, SAMPLING):
        key = keys.pop(response.request_id)
        before, one = store.get(key), due[key]
        choice, complaint = read_verdict(response, one.gold.choices)
        kind: Kind = "unreadable" if before else "again"
        if complaint is None:
            kind = "none" if choice is None else "option"
        texts = (*(before.texts if before else ()), response.text)
        yield StoredVerdict(key, store.judge, template, one.gold.id, one.answer.sample, only, kind, choice, texts)
    if keys:
        raise ResponderError(
            f"judge {store.judge!r} left {len(keys)} of {len(requests)} responses unanswered (such as "
            f"{next(iter(keys))!r}): run the command again; what was answered is kept"
        )


def _request(key: str, said: Said, before: StoredVerdict | None) -> Request:
    complaint = None if before is None else "it was neither one letter of an option nor that word"
    prompt = render(
        TEMPLATE,
        question=replace(said.gold, answer=None),  # no template, a user's own included, can show it
        response=said.answer.text,
        fence=f"=== {key[:16]}",  # a response cannot hold a hash of itself, so it cannot end its own quotation
        nothing=_nothing(said.gold.choices),
        complaint=complaint,
    )
    sample = f"#{said.answer.sample}" if said.answer.sample else ""
    return Request(f"{said.gold.id}{sample}{'#again' if before else ''}", None, prompt)


def read_verdict(response: Response, choices: tuple[str, ...]) -> tuple[int | None, str | None]:
    """Return the option that a judge names, and a complaint where its answer cannot be read; neither for "none"."""
    reading = read_response(response.text, choices, finish_reason=response.finish_reason)
    stated = reading.answer_text if ANSWER in reading.sections else response.text
    # Prose that concludes is not enough: what counts is an option in an answer section, or one that stands alone.
    if reading.choice is not None and reading.how in ("section", "whole"):
        return reading.choice, None
    if response.finish_reason != "length" and loose_form(stated or "") == loose_form(_nothing(choices)):
        return None, None
    return None, UNREADABLE


def _nothing(choices: tuple[str, ...]) -> str:
    """The word for "no option"; another one where an option is that word."""
    return "NO CONCLUSION" if any(loose_form(choice) == "none" for choice in choices) else "NONE"
