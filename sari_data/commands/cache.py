"""``sari-data cache``: the answers that are kept, so that none is paid for twice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sari_data.commands.arguments import JsonOption
from sari_data.console import print_json, say


def cache(
    file: Annotated[Path | None, typer.Option("--file", help="The cache; default: the one that builds use.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Forget all answers, or those of one responder.")] = False,
    responder: Annotated[str | None, typer.Option("--responder", help="With --clear: the responder's name.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how many answers are kept, of which responder, and where; or forget them."""
    from sari_data.answer_cache import default_cache
    from sari_data.answer_store import AnswerCache, CacheSize
    from sari_data.errors import InputError

    if responder is not None and not clear:
        raise InputError("--responder says whose answers to forget, so it needs --clear: add it")
    path = file or default_cache()
    kept: dict[str, int] = {}
    size, gone = CacheSize(0, 0), 0
    if path.exists():
        answers = AnswerCache(path)
        if clear:
            gone = answers.clear(responder)
        kept, size = answers.responders(), answers.size()
        answers.close()
    if as_json:
        print_json(
            {"file": str(path), "answers": size.answers, "bytes": size.bytes, "responders": kept, "forgotten": gone}
        )
        return
    if clear:
        say(f"{gone} answers forgotten")
    say(f"{path}: {size.answers} answers, {size.bytes / 1e6:.1f} MB")
    for name, count in kept.items():
        say(f"{count:9d}  {name}")
