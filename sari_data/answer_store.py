"""The file in which answers are kept, by a hash of everything that decides them.

It is an SQLite database in WAL mode: several processes may use it at once, and a process that is killed loses nothing
that it had stored.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from sari_data.errors import InputError, StorageError
from sari_data.responder import FinishReason, Response

VARIABLE = "SARI_CACHE"
# "SARI" in the database's header; the version counts changes of the table and of what the key is made of.
APPLICATION, VERSION = 0x53415249, 1
_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    key BLOB PRIMARY KEY, responder TEXT NOT NULL, text TEXT NOT NULL, finish_reason TEXT NOT NULL,
    tokens INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, stored REAL NOT NULL) WITHOUT ROWID"""
# How long another process that writes is waited for, in seconds.
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class CacheSize:
    """How much is kept: answers, and bytes on disk."""

    answers: int
    bytes: int


class AnswerCache:
    """The file of answers; for any number of threads and processes.

    Args:
        path: The database; it is made where it is not there.

    Raises:
        InputError: The file is no cache of answers, is damaged, or was written by a later version.
        StorageError: It cannot be opened or written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        with self._guarded():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                self._open()
            except BaseException:
                self._database.close()
                raise

    def _open(self) -> None:
        run = self._database.execute
        if run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._check()
        else:
            # Two processes may come here at once: then the second finds everything done.
            run("BEGIN IMMEDIATE")
            run(f"PRAGMA application_id = {APPLICATION}")
            run(f"PRAGMA user_version = {VERSION}")
            run(_TABLE)
            run("COMMIT")
        # WAL with NORMAL: what was committed survives the end of the process at any moment, though not a power cut.
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")

    def _check(self) -> None:
        if self._database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise InputError(f"{self.path} is a database, but no cache of answers: name another file")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            raise InputError(
                f"the answer cache {self.path} has version {version}, this sari reads {VERSION}: name another file"
            )

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"the answer cache {self.path} cannot be read or written ({error}): see to the disk and its "
                f"permissions, or name another folder in {VARIABLE}"
            ) from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{self.path} is no cache of answers, or a damaged one ({error}): delete it or name another"
            ) from error
        except OSError as error:
            raise StorageError(
                f"the answer cache {self.path} cannot be made ({error.strerror}): name another folder in {VARIABLE}"
            ) from error

    def get(self, key: bytes) -> Response | None:
        """Return the answer stored under a key, with an empty request id and sample 0; ``None`` where there is none."""
        with self._guarded():
            row = self._database.execute(
                "SELECT text, finish_reason, tokens, prompt_tokens FROM answers WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        return Response("", 0, row[0], cast(FinishReason, row[1]), row[2], row[3])

    def put(self, key: bytes, name: str, response: Response) -> Response:
        """Store an answer and return what is stored: another process's, where that was first."""
        row = (key, name, response.text, response.finish_reason, response.tokens, response.prompt_tokens, time.time())
        with self._guarded():
            added = self._database.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", row).rowcount
        found = None if added else self.get(key)
        if found is None:
            return response
        return replace(found, request_id=response.request_id, sample=response.sample)

    def size(self) -> CacheSize:
        """Count what is kept."""
        with self._guarded():
            answers = self._database.execute("SELECT count(*) FROM answers").fetchone()[0]
            files = (self.path, self.path.with_name(self.path.name + "-wal"))
            return CacheSize(answers, sum(file.stat().st_size for file in files if file.exists()))

    def responders(self) -> dict[str, int]:
        """Count the answers of each responder, by its name."""
        with self._guarded():
            return dict(
                self._database.execute("SELECT responder, count(*) FROM answers GROUP BY responder ORDER BY responder")
            )

    def clear(self, name: str | None = None) -> int:
        """Forget all answers, or those of one responder; return how many."""
        with self._guarded():
            where, values = ("", ()) if name is None else (" WHERE responder = ?", (name,))
            gone = self._database.execute(f"DELETE FROM answers{where}", values).rowcount
            self._database.execute("VACUUM")
            return gone

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()
