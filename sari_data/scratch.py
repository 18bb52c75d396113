"""A corpus on its way, in a file on disk, so that memory does not grow with it.

The pipeline puts questions and clips in as its sources yield them and takes them out again a few at a
time, stage after stage. Each has a place: the running number of what its source yielded, and a part
below it for the questions that were made from a clip. Order is always by place, whatever finished
first. Audio that came as bytes is spooled into files, so what goes round is light: a path and a hash.

Nothing here outlives the build. A build that was killed begins with an empty scratch again; its stages
give the same once more, and what was paid for is in the answer cache.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import pickle
import shutil
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from sari_data.errors import CorpusError
from sari_data.shards import storing
from sari_data.sources.base import Clip, SetAside
from sari_data.splitting import Entry, has_chains
from sari_data.types import AudioQuestion, AudioRef

T = TypeVar("T", AudioQuestion, Clip)
# The running number of what its source yielded, and the part below it.
Place = tuple[int, int]

_FETCH = 128  # items in memory at a time
_TABLES = """
CREATE TABLE items (
    place INTEGER, part INTEGER, id TEXT, kind TEXT, source TEXT, clip TEXT, domain TEXT, chains INTEGER,
    captioned INTEGER, split TEXT, position INTEGER, audio_name TEXT, body BLOB, PRIMARY KEY (place, part));
CREATE UNIQUE INDEX by_id ON items (kind, id);
CREATE INDEX by_split ON items (split, position);
CREATE TABLE aside (place INTEGER, part INTEGER, turn INTEGER, stage TEXT, reason TEXT, body TEXT,
    PRIMARY KEY (place, part, turn));
"""


class Scratch:
    """Questions and clips on disk; a context manager that removes them at its end.

    Args:
        target: The corpus folder that is being built: the scratch lies beside it, hidden.

    Raises:
        CorpusError: Another process builds the same folder now.
        StorageError: The disk is full, or the folder cannot be written.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self.folder = target.parent / f".{target.name}.work"
        self._lock = threading.RLock()  # a responder may take questions from a thread of its own
        self._next = 0

    def __enter__(self) -> Scratch:
        with storing(self._target):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._claim = open(self.folder / "lock", "w")
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._claim.close()
            raise CorpusError(
                f"{self._target}: another process is building it: wait for that one, or name another folder"
            ) from error
        try:
            with self._guarded():
                self._clear()
                (self.folder / "audio").mkdir()
                path = self.folder / "items.sqlite"
                self._base = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                # A scratch that was interrupted is thrown away, so it needs neither journal nor syncing.
                self._base.execute("PRAGMA journal_mode=OFF")
                self._base.execute("PRAGMA synchronous=OFF")
                self._base.executescript(_TABLES)
                # One transaction without an end: each statement of its own would go to the disk, which takes longer
                # than all else that is done for a question. What does not fit into SQLite's cache is written all along.
                self._base.execute("BEGIN")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()
        self._remove()

    def add(self, item: AudioQuestion | Clip, place: int | None = None, part: int = 0) -> bool:
        """Put an item at the end, or at a place; returns whether it is new (its id was not there yet)."""
        if place is None:
            place, self._next = self._next, self._next + 1
        light, name = self._light(item)
        kind = "question" if isinstance(item, AudioQuestion) else "clip"
        with self._guarded():
            done = self._base.execute(
                "INSERT OR IGNORE INTO items"
                " (place, part, id, kind, source, clip, domain, chains, captioned, audio_name, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (place, part, light.id, kind, *_columns(light), name, pickle.dumps(light)),
            )
        return done.rowcount == 1

    def put(self, item: AudioQuestion | Clip) -> None:
        """Replace the item that has this id."""
        light, _ = self._light(item)
        kind = "question" if isinstance(item, AudioQuestion) else "clip"
        with self._guarded():
            self._base.execute(
                "UPDATE items SET source=?, clip=?, domain=?, chains=?, captioned=?, body=? WHERE kind=? AND id=?",
                (*_columns(light), pickle.dumps(light), kind, light.id),
            )

    def expand(self, clip: str, questions: Sequence[AudioQuestion]) -> list[tuple[AudioQuestion, Place]]:
        """Put the questions made from a clip at the clip's place.

        Returns:
            Repeats, each with its place. Of two of the same question the one with the earlier place stays, whichever
            was made first, so that the outcome does not depend on who answers sooner.
        """
        place, part = self._where("clip", clip)
        repeats: list[tuple[AudioQuestion, Place]] = []
        for number, question in enumerate(questions, start=1):
            if self.add(question, place, part + number):
                continue
            other = self._where("question", question.id)
            if other < (place, part + number):
                repeats.append((question, (place, part + number)))
                continue
            later = pickle.loads(self.fetch("SELECT body FROM items WHERE place=? AND part=?", other)[0][0])
            repeats.append((later, other))
            self.take_out("question", question.id)
            self.add(question, place, part + number)
        return repeats

    def set_aside(self, aside: SetAside, *, kind: str | None = "question", place: Place | None = None) -> None:
        """Record what was set aside, and take the item of that ``kind`` and id out (``None``: there is none).

        Without an item it is recorded at ``place``, by default after all that is there.
        """
        if kind is None and place is None:
            # A place of its own: counting the earlier lines at one place would take longer with each.
            place, self._next = (self._next, 0), self._next + 1
        self._record(aside, place or self._where(str(kind), aside.id))
        if kind is not None:
            self.take_out(kind, aside.id)

    def note_aside(self, aside: SetAside, *, about: str | None = None) -> None:
        """Record that something of a question was set aside, a chain for instance; the question stays.

        Args:
            aside: What was set aside.
            about: The question's id, where it is not the id of what was set aside.
        """
        self._record(aside, self._where("question", about or aside.id))

    def keep_aside(self, line: str) -> None:
        """Keep a line about what was set aside when the corpus was built."""
        place, self._next = self._next, self._next + 1
        with self._guarded():
            self._base.execute("INSERT INTO aside VALUES (?, 0, 0, '', '', ?)", (place, line))

    def take_out(self, kind: str, id_: str) -> None:
        """Take an item out without a word: what became of it is at its place."""
        with self._guarded():
            self._base.execute("DELETE FROM items WHERE kind=? AND id=?", (kind, id_))

    def clips(self, *, captioned: bool | None = None) -> Items[Clip]:
        """Return the clips in their order; with ``captioned`` those with or those without a caption."""
        return Items(self, "kind='clip'" + ("" if captioned is None else f" AND captioned={int(captioned)}"))

    def questions(self, split: str | None = None) -> Items[AudioQuestion]:
        """Return the questions in their order, or those of a split in its order."""
        return Items(self, "kind='question'") if split is None else Items(self, "split=?", (split,), "position")

    def chosen(self, ids: Iterable[str]) -> Items[AudioQuestion]:
        """Return the questions with these ids, in the order of the places."""
        with self._guarded():
            self._base.execute("DROP TABLE IF EXISTS chosen")
            self._base.execute("CREATE TABLE chosen (id TEXT PRIMARY KEY)")
            self._base.executemany("INSERT INTO chosen VALUES (?)", ((id_,) for id_ in ids))
        return Items(self, "kind='question' AND id IN (SELECT id FROM chosen)")

    def entries(self) -> list[Entry]:
        """Return what splitting needs to know of each question, in their order."""
        with self._guarded():
            rows = self._base.execute(
                "SELECT id, clip, domain, chains FROM items WHERE kind='question' ORDER BY place, part"
            )
            return [Entry(id_, clip, domain, bool(chains)) for id_, clip, domain, chains in rows]

    def assign(self, split: str, ids: Iterable[str]) -> None:
        """Put questions into a split, in the order given."""
        with self._guarded():
            self._base.executemany(
                "UPDATE items SET split=?, position=? WHERE kind='question' AND id=?",
                ((split, number, id_) for number, id_ in enumerate(ids)),
            )

    def whole(self, split: str) -> Iterator[AudioQuestion]:
        """Yield a split's questions as their source gave them: what came as bytes has its bytes and its name again."""
        for question, name in Items(self, "split=?", (split,), "position").with_names():
            if name is not None:
                data = Path(str(question.audio.path)).read_bytes()
                question = question.replace(audio=replace(question.audio, path=name or None, data=data))
            yield question

    def asides(self) -> Iterator[str]:
        """Yield what was set aside as lines of JSON, in the order of the places."""
        last = (-1, -1, -1)
        while True:
            with self._guarded():
                rows = self._base.execute(
                    "SELECT place, part, turn, body FROM aside WHERE (place, part, turn) > (?, ?, ?)"
                    f" ORDER BY place, part, turn LIMIT {_FETCH}",
                    last,
                ).fetchall()
            if not rows:
                return
            yield from (row[3] for row in rows)
            last = rows[-1][:3]

    def fetch(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._guarded():
            return self._base.execute(query, values).fetchall()

    def _record(self, aside: SetAside, at: Place) -> None:
        place, part = at
        # By hand: dataclasses.asdict() copies deeply, which shows where millions of rows have lost their audio.
        known = {field.name: getattr(aside.provenance, field.name) for field in fields(aside.provenance)}
        body = {
            "stage": aside.stage,
            "reason": aside.reason,
            "id": aside.id,
            "provenance": {name: value for name, value in known.items() if value not in ("", None, {})},
            "detail": aside.detail,
        }
        with self._guarded():
            self._base.execute(
                "INSERT INTO aside SELECT ?, ?, COUNT(*), ?, ?, ? FROM aside WHERE place=? AND part=?",
                (place, part, aside.stage, aside.reason, json.dumps(body, ensure_ascii=False), place, part),
            )

    def _where(self, kind: str, id_: str) -> Place:
        found = self.fetch("SELECT place, part FROM items WHERE kind=? AND id=?", (kind, id_))
        assert found, f"no {kind} {id_!r} is on its way"
        return found[0][0], found[0][1]

    def _light(self, item: AudioQuestion | Clip) -> tuple[Any, str | None]:
        """Spool audio that is there as bytes; returns the light item and the name that its audio had, if so."""
        ref = item.audio
        if ref.data is None:
            return item, None
        digest = hashlib.sha256(ref.data).hexdigest()
        path = self.folder / "audio" / digest[:2] / f"{digest}{Path(ref.path or '').suffix}"
        if not path.exists():
            with storing(self._target):
                path.parent.mkdir(exist_ok=True)
                part = path.with_suffix(".part")
                part.write_bytes(ref.data)
                os.replace(part, path)
        light = AudioRef(path=str(path), start=ref.start, duration=ref.duration, sha256=digest)
        return replace(item, audio=light), ref.path or ""

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One statement at a time; a disk that is full is told, also where reading makes room by writing."""
        with self._lock, storing(self._target):
            try:
                yield
            except sqlite3.OperationalError as error:
                # SQLite says "database or disk is full" or "disk I/O error"; our own statements are not what is wrong.
                raise OSError(errno.ENOSPC, str(error)) from error

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._claim.close()

    def _clear(self) -> None:
        """Remove what a killed build left: in the scratch, and beside the target."""
        for path in self.folder.iterdir():
            if path.name != "lock":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for pattern in (f".{self._target.name}.*.partial", f".{self._target.name}.*.old"):
            for path in self._target.parent.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)


class Items(Collection[T], Generic[T]):
    """Some of the items, to be gone through as often as one likes; a few at a time are in memory.

    What is being gone through may be changed or taken out on the way.
    """

    def __init__(self, scratch: Scratch, where: str, values: Sequence[Any] = (), order: str = "place, part") -> None:
        self._scratch, self._where, self._values, self._order = scratch, where, tuple(values), order

    def __len__(self) -> int:
        return int(self._scratch.fetch(f"SELECT COUNT(*) FROM items WHERE {self._where}", self._values)[0][0])

    def __iter__(self) -> Iterator[T]:
        return (item for item, _ in self.with_names())

    def __contains__(self, item: object) -> bool:
        return any(item == other for other in self)

    def with_names(self) -> Iterator[tuple[T, str | None]]:
        """Yield each item with the name that its spooled audio had, ``None`` where its audio is a file of its own."""
        columns = self._order.split(", ")
        last: tuple[Any, ...] = (-1,) * len(columns)
        marks = ", ".join("?" * len(columns))
        while True:
            rows = self._scratch.fetch(
                f"SELECT {self._order}, audio_name, body FROM items WHERE {self._where} AND"
                f" ({self._order}) > ({marks}) ORDER BY {self._order} LIMIT {_FETCH}",
                (*self._values, *last),
            )
            if not rows:
                return
            for *_, name, body in rows:
                # Written by this process into a private folder a moment ago.
                yield pickle.loads(body), name
            last = tuple(rows[-1][: len(columns)])


def _columns(item: AudioQuestion | Clip) -> tuple[str, str, str, bool, bool]:
    chains = isinstance(item, AudioQuestion) and has_chains(item)
    return item.provenance.dataset, item.audio.key, item.domain, chains, item.caption is not None
