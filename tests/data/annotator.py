"""A scripted annotator: right answers to every annotation prompt, and wrong ones of each kind on demand."""

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sari_data.annotate import Annotate, OpenAsker
from sari_data.annotation.reading import Rejected
from sari_data.responder import Request, Response, Sampling
from sari_data.responders.rehearsal import rehearse
from sari_data.sources.base import Clip
from sari_data.types import AudioQuestion, AudioRef, Provenance


def reply(prompt: str, heard: str = "") -> str:
    """Answer any prompt of the annotation rightly; the same prompt always gets the same answer."""
    return rehearse(prompt, heard)


def serve(ask: Any) -> str:
    """Answer a request to the loopback chat server: ``chat_server.py --reply annotator:serve``."""
    return reply(ask.prompt, "" if ask.audio is None else hashlib.sha256(ask.audio).hexdigest())


class Annotator:
    """A responder that answers in a shuffled order and keeps what it was asked.

    Args:
        answer: The answer to a request: a text, or a text and its finish reason; default: the right one.
        seed: Of the order.
        most: Requests that it takes before it answers one.
    """

    cacheable = False

    def __init__(
        self, answer: Callable[[Request], str | tuple[str, str]] | None = None, *, seed: int = 0, most: int = 8
    ) -> None:
        self.name = "annotator"
        self.asked: list[Request] = []
        self.under_way = 0
        self._answer = answer or (lambda request: reply(request.prompt, request.audio.key if request.audio else ""))
        self._rng, self._most = random.Random(seed), most

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        waiting: list[Request] = []
        source = iter(requests)
        more = True
        while more or waiting:
            while more and len(waiting) < self._most:
                request = next(source, None)
                if request is None:
                    more = False
                else:
                    waiting.append(request)
                    self.asked.append(request)
            if waiting:
                request = waiting.pop(self._rng.randrange(len(waiting)))
                answer = self._answer(request)
                text, finish = (answer, "stop") if isinstance(answer, str) else answer
                yield Response(request.id, 0, text, finish)


def asker(responder: Any = None, **changes: Any) -> OpenAsker:
    """An open asker; by default one that answers rightly."""
    return OpenAsker(responder if responder is not None else Annotator(), Sampling(stop=()), **changes)


def table(**changes: Any) -> Annotate:
    """The recipe's table with changes."""
    return Annotate.model_validate(changes)


def attempt(read: Callable[..., Any], *arguments: Any) -> tuple[Any, Rejected | None]:
    """What reading gives, or how it was rejected."""
    try:
        return read(*arguments), None
    except Rejected as rejected:
        return None, rejected


def task(prompt: str) -> str:
    """Which prompt it is: caption, question, structured, unstructured or judge."""
    starts = {"say": "caption", "write": "question", "check": "judge"}
    words = prompt.partition("\n")[0].split()
    return starts.get(words[1], "structured" if "sections." in words else "unstructured")


def is_again(prompt: str) -> bool:
    """Whether the prompt says what was wrong with an earlier answer."""
    return "It was wrong because:" in prompt


def _questions(change: Callable[[dict], dict]) -> Callable[[str], str]:
    def spoil(answer: str) -> str:
        rows = json.loads(answer.removeprefix("```json\n").removesuffix("\n```"))
        return json.dumps([change(dict(row)) for row in rows])

    return spoil


# What a model may do wrong, by task: each takes a right answer to one that must not be accepted.
SPOILED: dict[str, dict[str, Callable[[str], str]]] = {
    "caption": {
        "refusal": lambda _: "I'm sorry, but I cannot hear the audio.",
        "circles": lambda _: "a dog barks and a dog barks and " * 6,
        "open": lambda _: "<caption>A dog barks twice",
        "list": lambda _: "- a dog barks\n- a car passes",
        "nothing": lambda _: "",
    },
    "question": {
        "prose": lambda _: "Here is your question!",
        "cut json": lambda answer: answer.replace("```json\n", "")[:60],
        "wrong type": _questions(lambda row: row | {"options": "a, b, c, d"}),
        "no options": _questions(lambda row: {k: v for k, v in row.items() if k != "options"}),
        "gold missing": _questions(lambda row: row | {"answer": "something that is no option"}),
        "same options": _questions(lambda row: row | {"options": [row["answer"]] * len(row["options"])}),
        "mentions caption": _questions(lambda row: row | {"question": "According to the caption, what is heard?"}),
        "holds answer": _questions(lambda row: row | {"question": f"Is it {row['answer']} that is heard?"}),
        "catch-all": _questions(lambda row: row | {"options": [*row["options"][:-1], "All of the above"]}),
        "unknown skill": _questions(lambda row: row | {"skill": "telepathy"}),
    },
    "structured": {
        "prose": lambda _: "It fits best.",
        "wrong answer": lambda answer: re.sub(r"<answer>.*</answer>", "<answer>none of them</answer>", answer),
        "no planning": lambda answer: re.sub(r"<planning>.*</planning>", "", answer),
        "told": lambda answer: answer.replace("</reasoning>", " As the given answer says.</reasoning>"),
        "letter": lambda answer: answer.replace("</planning>", " The answer is (B).</planning>"),
        "cut": lambda answer: answer[: len(answer) // 2],
    },
    "unstructured": {
        "prose": lambda _: "It fits best.",
        "wrong answer": lambda answer: re.sub(r"<answer>.*</answer>", "<answer>none of them</answer>", answer),
        "no thought": lambda answer: re.sub(r"<think>.*</think>", "", answer, flags=re.DOTALL),
        "reads": lambda answer: answer.replace("<think>", "<think>The caption says a lot. "),
    },
    "judge": {
        "prose": lambda _: "Looks fine to me.",
        "wrong type": lambda _: '{"verdict": true, "reason": "fine"}',
        "other word": lambda _: '{"verdict": "maybe", "reason": "fine"}',
    },
}


def spoil(prompt: str, kind: int, heard: str = "") -> str:
    """Answer a prompt wrongly; ``kind`` picks the way."""
    ways = list(SPOILED[task(prompt)].values())
    return ways[kind % len(ways)](reply(prompt, heard))


def clip(number: int, **changes) -> Clip:
    """A clip of which the labels are known."""
    known = {
        "audio": AudioRef(path=f"{number}.wav", sha256=f"{number:064x}"),
        "domain": "sound",
        "labels": ("Dog", "Church bell"),
        "provenance": Provenance("made", f"c{number}", "CC0"),
    }
    return Clip(**(known | changes))


def question(number: int = 1, **changes) -> AudioQuestion:
    """A question with a caption and without chains."""
    made = {
        "id": f"q{number:04d}",
        "audio": AudioRef(path=f"{number}.wav", sha256=f"{number:064x}"),
        "question": "Which animal is heard last?",
        "choices": ("a cat", "a dog", "a cow", "a hen"),
        "answer": "a dog",
        "domain": "sound",
        "caption": "A cat meows, and then a dog barks twice.",
    }
    return AudioQuestion(**(made | changes))
