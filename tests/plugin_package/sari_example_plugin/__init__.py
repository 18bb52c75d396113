"""A responder that answers with the prompt's last word."""

from collections.abc import Iterable, Iterator

from sari_data.responder import Request, Response, Sampling


class EchoResponder:
    """Answers every request with the last word of its prompt, after ``prefix``."""

    def __init__(self, prefix: str = "") -> None:
        self.name = f"echo:{prefix}"
        self._prefix = prefix

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Yield the same text for every sample."""
        for request in requests:
            for sample in range(request.samples):
                yield Response(request.id, sample, self._prefix + request.prompt.split()[-1], "stop", tokens=1)
