"""Ask a responder for something that must validate, and ask again with what was wrong until it does.

Items are taken in windows, so memory does not grow with the corpus, and in the caller's own thread.
Within a window an answer that does not validate is asked again as soon as the responder takes another
request. What an item becomes depends on its own answers alone, never on the order in which they arrive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from sari_data.annotation.reading import Rejected
from sari_data.errors import InputError, ResponderError
from sari_data.prompting import render, template_hash
from sari_data.responder import Request, Responder, Response, Sampling
from sari_data.sources.base import SetAside
from sari_data.types import AudioQuestion, AudioRef, Provenance

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

CUT_OFF = "the answer was cut off"
REFUSED = "the server refused it"
AGAIN = "annotate/again.jinja"

WINDOW = 4096  # items that are under way together
_SHOWN = 2000  # characters of an earlier answer in the next prompt
_TOLD = 1000  # characters of a complaint
_DETAIL = 200  # characters of the last answer in a SetAside


@dataclass(frozen=True, slots=True)
class OpenAsker:
    """A responder that is open, and how it is asked.

    Args:
        responder: Who answers.
        sampling: How.
        tries: How often one thing is asked at most.
        listen: Whether the audio is sent along where a stage does not need it.
    """

    responder: Responder
    sampling: Sampling
    tries: int = 3
    listen: bool = False

    def made_by(self, template: str) -> str:
        """What is recorded of a field that this asker made with a template: who, and the hash of the prompt's text."""
        digest = template_hash(f"annotate/{template}.jinja", AGAIN)
        return f"{self.responder.name}/{template}@{digest}"


@dataclass(slots=True)
class Tally:
    """What a stage did, for people: the numbers grow while it runs.

    Args:
        asked: Items that were asked about.
        asked_again: Requests that followed an answer which did not validate.
        accepted: Items that a valid answer was found for.
        set_aside: Items that none was found for.
        short: Parts that were asked for and are lacking in what was accepted (questions of a clip).
        rejected: Why answers were rejected, and how often; more than one for an item that was asked again.
    """

    asked: int = 0
    asked_again: int = 0
    accepted: int = 0
    set_aside: int = 0
    short: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class Stage(ABC, Generic[ItemT, ResultT]):
    """What is asked about an item, and how its answer is read."""

    name: str  # recorded in SetAside.stage
    items: str = "item"  # what its items are, for messages

    @abstractmethod
    def key(self, item: ItemT) -> str:
        """Return the item's id."""

    @abstractmethod
    def provenance(self, item: ItemT) -> Provenance:
        """Return where the item is from."""

    @abstractmethod
    def audio(self, item: ItemT) -> AudioRef | None:
        """Return the audio to send along, or ``None``."""

    @abstractmethod
    def prompt(self, item: ItemT, kept: Any) -> str:
        """Return the prompt; ``kept`` is what earlier answers gave that was good, ``None`` at first."""

    @abstractmethod
    def read(self, item: ItemT, kept: Any, text: str) -> ResultT:
        """Return what a whole answer says.

        Raises:
            Rejected: It does not validate.
        """

    def settle(self, item: ItemT, kept: Any) -> ResultT | None:
        """Return what ``kept`` is worth when no try is left; ``None``: the item is set aside."""
        return None


class QuestionStage(Stage[AudioQuestion, ResultT]):
    """A stage whose items are finished questions; its asker says whether the audio goes along."""

    items = "question"

    def __init__(self, asker: OpenAsker) -> None:
        self._asker = asker

    def key(self, item: AudioQuestion) -> str:
        """Return the question's id."""
        return item.id

    def provenance(self, item: AudioQuestion) -> Provenance:
        """Return where the question is from."""
        return item.provenance

    def audio(self, item: AudioQuestion) -> AudioRef | None:
        """Return the question's audio, where whoever is asked is to listen."""
        return item.audio if self._asker.listen else None


@dataclass(slots=True)
class Task(Generic[ItemT]):
    """An item on its way: how often it was asked, and what was wrong with the last answer."""

    item: ItemT
    id: str
    attempt: int = 1
    complaint: str = ""
    answer: str = ""
    kept: Any = None

    @property
    def request_id(self) -> str:
        """The id of the request; every attempt has one of its own."""
        return self.id if self.attempt == 1 else f"{self.id}#{self.attempt}"

    def reject(self, complaint: str, answer: str) -> None:
        """Note what was wrong, in bounded space, for the next attempt."""
        self.attempt += 1
        self.complaint, self.answer = _shorten(complaint, _TOLD), _shorten(answer, _SHOWN)


def ask_window(
    tasks: list[Task[ItemT]], stage: Stage[ItemT, ResultT], asker: OpenAsker, tally: Tally
) -> Iterator[tuple[str, ResultT | SetAside]]:
    """Yield the result for every item of a window, or why there is none; each id once, in any order.

    A task may already have been rejected once.

    Raises:
        ResponderError: The responder answered what it was not asked, or left something out without saying why.
        TemplateError: The stage's template is wrong.
    """
    waiting = deque(tasks)
    under_way: dict[str, Task[ItemT]] = {}
    tally.asked += len(tasks)

    def requests() -> Iterator[Request]:
        # Runs in whatever thread the responder takes requests in; it touches the two containers alone.
        while waiting:
            task = waiting.popleft()
            assert task.request_id not in under_way, "task_windows() checks that ids differ"
            under_way[task.request_id] = task
            yield Request(task.request_id, stage.audio(task.item), _prompt(task, stage, asker))

    while waiting:
        for response in asker.responder.respond(requests(), asker.sampling):
            answered = under_way.pop(response.request_id, None)
            if answered is None or response.sample != 0:
                raise ResponderError(
                    f"responder {asker.responder.name!r} answered sample {response.sample} of request "
                    f"{response.request_id!r}, which was not asked for or was answered before: it must answer "
                    "each request once"
                )
            result = _take(response, answered, stage, asker, tally)
            if result is None:
                # Before those that were never asked, so that what is half done stays little.
                waiting.appendleft(answered)
            else:
                yield answered.id, result
        for lost in under_way.values():
            tally.set_aside += 1
            yield lost.id, _refused(lost, stage, asker)
        under_way.clear()


def task_windows(items: Iterable[ItemT], key: Callable[[ItemT], str], what: str) -> Iterator[list[Task[ItemT]]]:
    """Yield the items as tasks, in lists of at most WINDOW.

    Args:
        items: What is asked about.
        key: The id of an item.
        what: What the items are, for the message.

    Raises:
        InputError: An id comes twice.
    """
    seen: set[str] = set()
    iterator = iter(items)
    while window := [Task(item, key(item)) for item in islice(iterator, WINDOW)]:
        for task in window:
            if task.id in seen:
                raise InputError(f"{what} {task.id!r} comes twice among those to annotate: drop one of the two")
            seen.add(task.id)
        yield window


def _prompt(task: Task[ItemT], stage: Stage[ItemT, Any], asker: OpenAsker) -> str:
    first = stage.prompt(task.item, task.kept)
    if task.attempt == 1 and not task.complaint:
        return first
    return render(
        AGAIN, prompt=first, answer=task.answer, complaint=task.complaint, attempt=task.attempt, tries=asker.tries
    )


def _take(
    response: Response, task: Task[ItemT], stage: Stage[ItemT, ResultT], asker: OpenAsker, tally: Tally
) -> ResultT | SetAside | None:
    """Read an answer; ``None`` where the task is to be asked again."""
    try:
        if response.finish_reason == "length":
            raise Rejected(
                CUT_OFF, "Your answer was cut off at its length limit: give a shorter one that is complete.", task.kept
            )
        result = stage.read(task.item, task.kept, response.text)
    except Rejected as rejected:
        tally.rejected[rejected.reason] += 1
        task.kept = task.kept if rejected.kept is None else rejected.kept
        if task.attempt < asker.tries:
            tally.asked_again += 1
            task.reject(rejected.complaint, response.text)
            return None
        settled = stage.settle(task.item, task.kept)
        if settled is None:
            tally.set_aside += 1
            return _set_aside(stage, task, rejected.reason, rejected.complaint, response.text)
        result = settled
    tally.accepted += 1
    return result


def _set_aside(stage: Stage[ItemT, Any], task: Task[ItemT], reason: str, complaint: str, answer: str) -> SetAside:
    detail = f"{_shorten(complaint, _TOLD)} The answer began: {_shorten(' '.join(answer.split()), _DETAIL)}"
    return SetAside(
        stage=stage.name, reason=reason, id=task.id, provenance=stage.provenance(task.item), detail=_storable(detail)
    )


def _refused(task: Task[ItemT], stage: Stage[ItemT, Any], asker: OpenAsker) -> SetAside:
    failed: Any = getattr(asker.responder, "failed", None)
    if failed is None or task.request_id not in failed:
        raise ResponderError(
            f"responder {asker.responder.name!r} gave no answer to request {task.request_id!r}: it must answer each "
            "request once; start it again"
        )
    return SetAside(
        stage=stage.name,
        reason=REFUSED,
        id=task.id,
        provenance=stage.provenance(task.item),
        detail=_storable(str(failed[task.request_id])),
    )


def _shorten(text: str, most: int) -> str:
    """Cut the middle out of a long text."""
    if len(text) <= most:
        return text
    head = most * 3 // 4
    return f"{text[:head]} […] {text[len(text) - (most - head) :]}"


def _storable(text: str) -> str:
    return text.encode("utf-8", errors="replace").decode("utf-8")
