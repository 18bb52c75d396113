"""What all sources share: what they say about themselves, and what they yield.

A source yields, one at a time and in an order that options and seed decide: a finished
:class:`~sari_data.types.AudioQuestion`; a :class:`Clip`, from which captions and questions are still to
be made; or a :class:`SetAside` for what its data set lists and a corpus cannot have, with the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sari_data.config import Table
from sari_data.types import AudioQuestion, AudioRef, Provenance, check_domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A piece of audio with what its data set says of it; questions about it are yet to be made.

    Args:
        audio: The audio, by path and hash (:func:`~sari_data.types.hash_path`).
        domain: As of :class:`~sari_data.types.AudioQuestion`.
        labels: What is to be heard, in the data set's words, for instance ``("Dog", "Bark")``.
        facts: What else the data set knows, by name, as JSON values, for instance ``{"key": "G minor"}``.
        caption: What there is to hear, in words, where the data set or a model has said it.
        provenance: Where the clip is from.
        category: First level of grouping for questions made from it.

    Raises:
        InputError: The domain is none.
    """

    audio: AudioRef
    domain: str
    labels: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    caption: str | None = None
    provenance: Provenance = field(default_factory=Provenance)
    category: str = ""

    def __post_init__(self) -> None:
        check_domain(self.domain, f"clip {self.provenance.source_id!r}")

    @property
    def id(self) -> str:
        """Stable id (16 hex digits) from data set, source id and the audio's content key."""
        digest = hashlib.sha256()
        for part in (self.provenance.dataset, self.provenance.source_id, self.audio.key):
            digest.update(part.encode() + b"\x00")
        return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """Something that does not become part of the corpus, and why.

    Args:
        stage: The stage that set it aside, for instance ``collect``.
        reason: A short phrase under which it is counted, the same for all of its kind, for instance
            ``audio is missing``.
        id: The question's or clip's id, or the source's own where it had none yet.
        provenance: Where it is from.
        detail: What exactly was found, for people.
    """

    stage: str
    reason: str
    id: str
    provenance: Provenance = field(default_factory=Provenance)
    detail: str = ""


Item = AudioQuestion | Clip | SetAside


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What ``sari-data sources`` says of a source.

    Args:
        name: Its name in recipes.
        title: The data set's own name.
        gives: What it yields, in one line.
        needs: Files and folders that must be there, one line each.
        licence: Licence of its annotations.
        audio_licence: Licence of its audio, as its publishers state it.
        share_audio: Whether its audio may be published with a corpus; if not, ids and segments are.
        get: How to get it, one line each: addresses and commands.
        homepage: Where it is published.
        paper: The paper to cite, as author, year and arXiv id or venue.
    """

    name: str
    title: str
    gives: str
    needs: tuple[str, ...]
    licence: str
    audio_licence: str
    share_audio: bool
    get: tuple[str, ...]
    homepage: str = ""
    paper: str = ""


class Source(Protocol):
    """What a source module offers: ``ABOUT``, ``Options`` (its recipe table) and ``generate``."""

    ABOUT: About
    Options: type[Table]

    def generate(self, options: Any, seed: int) -> Iterator[Item]:
        """Yield items, the same ones in the same order for the same options, files and seed."""
        ...
