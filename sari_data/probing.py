"""Find out before any work whether those who are to be asked are there."""

from __future__ import annotations

from collections.abc import Iterable

from sari_data.answer_cache import CachedResponder
from sari_data.console import note
from sari_data.errors import ResponderError
from sari_data.responder import Responder


def check_responders(responders: Iterable[Responder | None]) -> None:
    """Ask each responder that can be probed (it has ``probe``) whether it is there.

    Where the cache already has answers of one that is not, it may not be needed: that is only said.

    Raises:
        ResponderError: One is not there, or would refuse every request.
    """
    for responder in {id(found): found for found in responders if found is not None}.values():
        cache = responder.cache if isinstance(responder, CachedResponder) else None
        inner = responder.responder if isinstance(responder, CachedResponder) else responder
        probe = getattr(inner, "probe", None)
        wrong: str | None = None if probe is None else probe()
        if wrong is None:
            continue
        if cache is None or responder.name not in cache.responders():
            raise ResponderError(wrong)
        note(f"{wrong}; going on with the answers in {cache.path}")
