"""What an address answered, in one sqlite file that the runs of a folder share: a question is paid for once.

The table `answers` has a reply (JSON text) under the hash of what was asked, with the run that bought it, dollars and
time; `spent` has every payment of a run, those for tries without a reply included; `refused` the hashes of what a
server will not answer. Questions are not kept. Two processes may use the file at once.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from zmem_lib.files import NO_SPACE, BadInput, writing

BUSY_S = 60.0  # that one process waits for another's writing
TABLES = (
    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, reply TEXT NOT NULL, run TEXT NOT NULL, "
    "money REAL NOT NULL, time REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS spent (run TEXT NOT NULL, money REAL NOT NULL, time REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS refused (key TEXT PRIMARY KEY, said TEXT NOT NULL, time REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS spent_by_run ON spent (run, money)",
)


@dataclass(frozen=True)
class Reply:
    """What a model answered, and what that cost when it was bought."""

    text: str
    input_tokens: int
    output_tokens: int
    money: float  # dollars


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The cache, made where it is missing, while this lasts; what sqlite says against it becomes BadInput."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_S)) as cache:
            for table in TABLES:
                cache.execute(table)
            yield cache
    except sqlite3.Error as error:
        said = str(error)
        sentence = f"{path} is damaged ({said}): remove it (its answers will be asked and paid for again)"
        if "full" in said:
            no_space = f"{NO_SPACE[0].lower()} while writing {path}"
            sentence = f"{no_space}: free some and give the same command again to resume"
        elif "locked" in said:
            sentence = f"{path} is held by another process: wait for its end and give the same command again"
        elif isinstance(error, sqlite3.OperationalError) and "no column" not in said and "no such" not in said:
            sentence = f"{path} cannot be used ({said}): put that right, or give another folder (--runs DIR)"
        raise BadInput(sentence) from error


def kept_reply(cache: sqlite3.Connection, key: str) -> Reply | None:
    """The reply under a key, or None."""
    row = cache.execute("SELECT reply, money FROM answers WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    try:
        reply, money = json.loads(row[0]), float(row[1])
        return Reply(reply["text"], reply["input_tokens"], reply["output_tokens"], money)
    except (ValueError, TypeError, KeyError) as error:
        raise sqlite3.DatabaseError(f"the reply under {key} is none") from error


def keep_reply(cache: sqlite3.Connection, key: str, reply: Mapping, *, run: str, money: float) -> Reply | None:
    """Keep a reply and what it cost; returns what is kept, another process's reply where that came first."""
    answer = (key, json.dumps(dict(reply), ensure_ascii=False), run, money, time.time())
    with cache:
        cache.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", answer)
        pay(cache, run, money)
    return kept_reply(cache, key)


def is_refused(cache: sqlite3.Connection, key: str) -> bool:
    """Whether the server refused this very question."""
    return cache.execute("SELECT 1 FROM refused WHERE key = ?", (key,)).fetchone() is not None


def keep_refusal(cache: sqlite3.Connection, key: str, said: str) -> None:
    """Note that the server refuses a question."""
    with cache:
        cache.execute("INSERT OR REPLACE INTO refused VALUES (?, ?, ?)", (key, said, time.time()))


def pay(cache: sqlite3.Connection, run: str, money: float) -> None:
    """Note a payment, also for a try without a reply; ends the transaction that is under way."""
    with cache:
        if money:
            cache.execute("INSERT INTO spent VALUES (?, ?, ?)", (run, money, time.time()))


def spent(cache: sqlite3.Connection, run: str) -> float:
    """Dollars that a run has paid, over all its starts."""
    return float(cache.execute("SELECT TOTAL(money) FROM spent WHERE run = ?", (run,)).fetchone()[0])
