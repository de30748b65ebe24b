"""One SQLite file: the append-only log of facts with the block it is complete to, and what is known about
stored blobs.

A crash between two calls loses nothing: facts and the cursor move in one transaction. A chain that went
back (a reorganised tip, a devnet that started again) is a row in the log too: it takes back every earlier
row above its block.
"""

import json
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .model import Fact

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,     -- 'Rewound' takes back every earlier row with a higher block
    block INTEGER NOT NULL,
    time INTEGER NOT NULL,
    args TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS cursor (   -- blocks up to which the log was complete, newest last
    block INTEGER PRIMARY KEY,
    hash TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS blobs (    -- one row per reason to keep a file
    sha256 TEXT NOT NULL,
    pool INTEGER NOT NULL,
    kind TEXT NOT NULL,
    round INTEGER NOT NULL,
    owner TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (sha256, pool, kind, round, owner)
);
CREATE INDEX IF NOT EXISTS blobs_by_owner ON blobs (pool, owner, kind);
"""
_CURSORS_KEPT = 512


class Database:
    """Thread-safe: one connection behind one lock."""

    def __init__(self, path: Path):
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _run(self, sql: str, *values: Any) -> list[tuple]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    # --- facts ------------------------------------------------------------------------------------

    def facts(self) -> list[Fact]:
        """What counts, in order: the log without what was taken back."""
        facts: list[Fact] = []
        for name, block, time, args in self._run("SELECT name, block, time, args FROM facts ORDER BY seq"):
            if name == "Rewound":
                facts = [fact for fact in facts if fact.block <= block]
            else:
                facts.append(Fact(name, block, time, json.loads(args)))
        return facts

    def append(self, facts: Sequence[Fact], cursor: tuple[int, str] | None = None) -> None:
        """Adds facts and, with them, moves the cursor to a block (number, hash)."""
        rows = [(f.name, f.block, f.time, json.dumps(f.args)) for f in facts]
        with self._lock, _Transaction(self._db):
            self._db.executemany("INSERT INTO facts (name, block, time, args) VALUES (?, ?, ?, ?)", rows)
            if cursor:
                self._db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", cursor)
                newest = "SELECT block FROM cursor ORDER BY block DESC LIMIT ?"
                self._db.execute(f"DELETE FROM cursor WHERE block NOT IN ({newest})", (_CURSORS_KEPT,))

    def cursors(self) -> list[tuple[int, str]]:
        """Recent (block, hash) up to which the log is complete, newest first."""
        return self._run("SELECT block, hash FROM cursor ORDER BY block DESC")

    def rewind(self, block: int) -> None:
        """Takes back every fact above `block`, which was found to be no part of the chain any more."""
        with self._lock, _Transaction(self._db):
            self._db.execute(
                "INSERT INTO facts (name, block, time, args) VALUES ('Rewound', ?, 0, '{}')", (block,)
            )
            self._db.execute("DELETE FROM cursor WHERE block > ?", (block,))

    # --- blobs ------------------------------------------------------------------------------------

    def add_blob(self, sha256: str, pool: int, kind: str, round_: int, owner: str, size: int) -> bool:
        """Notes a reason to keep a file; False when it is known already."""
        sql = "INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?, ?, ?) RETURNING 1"
        return bool(self._run(sql, sha256, pool, kind, round_, owner, size))

    def has_blob(self, sha256: str, pool: int, kind: str, round_: int, owner: str) -> bool:
        sql = "SELECT 1 FROM blobs WHERE sha256=? AND pool=? AND kind=? AND round=? AND owner=?"
        return bool(self._run(sql, sha256, pool, kind, round_, owner))

    def stored_bytes(self, pool: int, owner: str, kind: str) -> int:
        sql = "SELECT COALESCE(SUM(size), 0) FROM blobs WHERE pool=? AND owner=? AND kind=?"
        return self._run(sql, pool, owner, kind)[0][0]

    def artifacts(self) -> set[str]:
        """Names of all artifacts."""
        return {name for (name,) in self._run("SELECT DISTINCT sha256 FROM blobs WHERE kind='artifact'")}

    def evidence_rounds(self) -> list[tuple[int, int]]:
        """(pool, round) pairs that have evidence."""
        return self._run("SELECT DISTINCT pool, round FROM blobs WHERE kind='evidence'")

    def drop_blobs(self, pool: int, kind: str, round_: int | None = None) -> list[str]:
        """Forgets a pool's blobs of a kind (of one round); the hashes that nothing needs any more."""
        where, values = "pool=? AND kind=?", [pool, kind]
        if round_ is not None:
            where, values = where + " AND round=?", [*values, round_]
        with self._lock, _Transaction(self._db):
            gone = self._db.execute(f"DELETE FROM blobs WHERE {where} RETURNING sha256", values).fetchall()
            return [
                sha
                for (sha,) in dict.fromkeys(gone)
                if not self._db.execute("SELECT 1 FROM blobs WHERE sha256=?", (sha,)).fetchone()
            ]


class _Transaction:
    """All or nothing: commits at the end of the block, rolls back when it raises."""

    def __init__(self, db: sqlite3.Connection):
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("ROLLBACK" if kind else "COMMIT")
