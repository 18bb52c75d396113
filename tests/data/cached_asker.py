"""A process that asks a chat server through a cache, to be killed."""

import json
from multiprocessing.process import BaseProcess
from pathlib import Path

from sari_data.answer_cache import CachedResponder
from sari_data.responder import Request, Sampling
from sari_data.responders.server import ServerResponder

COUNT, SAMPLES, CONCURRENCY = 120, 2, 6


def ask(url: str, path: Path, out: Path) -> None:
    """Ask COUNT questions and write what was answered, whole or not at all."""
    options = {"concurrency": CONCURRENCY, "tries": 20, "backoff": 0.002, "longest_backoff": 0.01}
    responder = CachedResponder(ServerResponder("toy", url, label="here", **options), path)
    requests = (Request(f"q{n}", None, f"prompt {n}", SAMPLES) for n in range(COUNT))
    found = [(r.request_id, r.sample, r.text) for r in responder.respond(requests, Sampling(temperature=1.0))]
    out.write_text(json.dumps(found))


def open_cache(path: Path, out: Path) -> None:
    """Open a cache that may not be there yet and store one answer."""
    from sari_data.answer_store import AnswerCache
    from sari_data.responder import Response

    cache = AnswerCache(path)
    stored = cache.put(b"the same", "n", Response("q", 0, out.name, "stop"))
    cache.put(out.name.encode(), "n", stored)
    out.write_text(stored.text)


def start(target, *arguments) -> BaseProcess:  # type: ignore[no-untyped-def]
    """Start a process that has everything imported already, so that a kill soon after falls into the work."""
    from multiprocessing import get_context

    context = get_context("forkserver")
    context.set_forkserver_preload(["cached_asker", "huggingface_hub.inference._client", "sari_data.hub"])
    process = context.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process
