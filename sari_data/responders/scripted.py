"""Answers that are already known: from a function, a mapping, or a file of recorded responses.

For tests, for replaying a run, and for grading predictions that another program wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from sari_data.errors import InputError, MissingFileError, ResponderError
from sari_data.responder import FinishReason, Request, Response, Sampling

Answers = Callable[[Request, int], str] | Mapping[str, str | list[str]]
RESPONSES = "responses.jsonl"


class ScriptedResponder:
    """A :class:`~sari_data.responder.Responder` that looks its answers up.

    Args:
        answers: A function of the request and the sample's index that returns what is said after the request's
            prefix, or a mapping from request id to the text of every sample or to a list with one text a sample; a
            mapping has no answer to a request with a prefix.
        path: Instead of ``answers``: a JSONL file with the fields ``id``, ``sample`` (default 0), ``text`` (the whole),
            ``finish_reason`` (default ``stop``) and ``prefix`` (default none; an answer to a request with a prefix is
            found by it too), or a run folder that holds such a ``responses.jsonl``.
        name: What is recorded with the results.

    Raises:
        InputError: Not exactly one of ``answers`` and ``path``, or a line of the file that is not a response.
        MissingFileError: No such file.
    """

    cacheable = False  # another file or function may stand behind the same name
    hears_several = True  # it hears none; answers are found by the request's id

    def __init__(
        self, answers: Answers | None = None, *, path: str | Path | None = None, name: str | None = None
    ) -> None:
        if (answers is None) == (path is None):
            found = "neither" if answers is None else "both"
            raise InputError(
                f"responder 'scripted' needs either answers or path, found {found}: give the path of recorded answers "
                "(--responder-option path=FILE)"
            )
        self.name = name or (f"scripted:{path}" if path is not None else "scripted")
        self._answers = answers
        self._recorded = {} if path is None else _read(Path(path))

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Yield every sample of every request in order; ``sampling`` changes nothing.

        Raises:
            ResponderError: There is no answer for a request's id or for one of its samples.
        """
        for request in requests:
            for sample in request.wanted:
                yield self._response(request, sample)

    def _response(self, request: Request, sample: int) -> Response:
        if callable(self._answers):
            return Response(request.id, sample, request.prefix + self._answers(request, sample), "stop")
        if self._answers is None:
            found = self._recorded.get((request.id, sample, request.prefix))
            if found is None:
                raise self._missing(request, sample)
            return found
        if request.prefix or request.id not in self._answers:
            raise self._missing(request, sample)
        texts = self._answers[request.id]
        if isinstance(texts, str):
            return Response(request.id, sample, texts, "stop")
        if sample >= len(texts):
            raise self._missing(request, sample)
        return Response(request.id, sample, texts[sample], "stop")

    def _missing(self, request: Request, sample: int) -> ResponderError:
        begun = f", that begins with {request.prefix[:40]!r}" if request.prefix else ""
        return ResponderError(
            f"responder {self.name!r} has no answer for question {request.id!r}, sample {sample} of {request.samples}"
            f"{begun}: record one, or ask only what is recorded"
        )


def _read(path: Path) -> dict[tuple[str, int, str], Response]:
    file = path / RESPONSES if path.is_dir() else path
    if not file.is_file():
        raise MissingFileError(f"recorded responses {str(file)!r}: expected a JSONL file there, found none")
    found: dict[tuple[str, int, str], Response] = {}
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                response, prefix = _response(line, f"{file}, line {number}")
                key = (response.request_id, response.sample, prefix)
                if key in found:
                    raise InputError(f"{file}, line {number}: question {key[0]!r}, sample {key[1]} comes twice")
                found[key] = response
    return found


def _response(line: str, where: str) -> tuple[Response, str]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where}: expected one JSON object a line, found text that is not: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not isinstance(row.get("text"), str):
        raise InputError(f"{where}: expected an object with the texts 'id' and 'text'; found {line.strip()[:80]!r}")
    sample, reason, tokens = row.get("sample", 0), row.get("finish_reason", "stop"), row.get("tokens") or 0
    if not isinstance(sample, int) or not isinstance(tokens, int) or sample < 0:
        raise InputError(f"{where}: sample and tokens must be whole numbers; found {sample!r} and {tokens!r}")
    if reason not in get_args(FinishReason):
        raise InputError(f"{where}: finish_reason must be one of {get_args(FinishReason)}; found {reason!r}")
    prefix = row.get("prefix", "")
    if not isinstance(prefix, str) or not row["text"].startswith(prefix):
        raise InputError(f"{where}: the text must begin with the prefix; found the prefix {prefix!r}")
    return Response(row["id"], sample, row["text"], reason, tokens), prefix
