"""Annotation by a Responder: captions, questions with options, chains of thought, and a second opinion on them.

What the pipeline calls, in this order: :func:`open_askers` before any work, then :func:`caption_clips`,
:func:`write_questions` and :func:`write_chains`. Every item comes out of a stage exactly once, as what it became or as
a :class:`~sari_data.sources.base.SetAside` that says why it did not. Nothing here speaks to a network: who answers is
the Responder's matter, and what answers cost twice is the cache's.
"""

from __future__ import annotations

from sari_data.annotation.asking import OpenAsker, Tally
from sari_data.annotation.captions import caption_clips
from sari_data.annotation.chains import write_chains
from sari_data.annotation.config import Annotate, Asker, OpenAskers, open_askers, prompt_texts
from sari_data.annotation.questions import write_questions

__all__ = [
    "Annotate",
    "Asker",
    "OpenAsker",
    "OpenAskers",
    "Tally",
    "caption_clips",
    "open_askers",
    "prompt_texts",
    "write_chains",
    "write_questions",
]
