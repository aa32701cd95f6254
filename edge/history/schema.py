"""What a store holds, how its sums are made, and how one of an older version becomes one of this.

`event`: every event as it came, by its event_id. `minute`, `hour` and `day`: what was heard of a room in them, where
anybody listened at all; a minute without a row is a gap. heard_ms is how long anybody listened, `minute_label` and
so on how long each label but quiet held. Means are over heard_ms, arousal's and valence's over voiced_ms; null where
nothing was told. Times are UTC: milliseconds, minutes, hours and days since 1970. Hours before `kept.rolled_hour`, and
the days that have them, are summed up.
"""

from collections.abc import Sequence

from edge.history.engine import Engine, StoreError, Work

AT_A_TIME = 6_000  # parameters of a statement: minutes of full hours
NAMELESS = "#"  # how what stands for a room's name begins when that is forgotten; no device is called so

_MEANS = """heard_ms BIGINT NOT NULL, voiced_ms BIGINT NOT NULL, level_dbfs INTEGER, speech_permille INTEGER,
    arousal_permille INTEGER, valence_permille INTEGER"""


def _mean(name: str, over: str) -> str:
    """Return SQL for a mean of means, each weighed by the time that it is of."""
    return (
        f"CAST(round(sum(1.0 * {name} * {over}) / "
        f"nullif(sum(CASE WHEN {name} IS NULL THEN 0 ELSE {over} END), 0)) AS INTEGER)"
    )


# What minutes are summed up to: an hour has the same columns.
MEANS = ", ".join(
    [
        "sum(heard_ms)",
        "sum(voiced_ms)",
        _mean("level_dbfs", "heard_ms"),
        _mean("speech_permille", "heard_ms"),
        _mean("arousal_permille", "voiced_ms"),
        _mean("valence_permille", "voiced_ms"),
    ]
)


# One entry a version: what makes it of the one before.
VERSIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE kept (one INTEGER PRIMARY KEY, client_id TEXT NOT NULL, rolled_hour INTEGER NOT NULL)",
        # What is told of a room up to until_minute is kept; of that minute itself, as far as it was told.
        """CREATE TABLE room (
            room INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, until_minute INTEGER NOT NULL DEFAULT 0
        )""",
        """CREATE TABLE event (
            event_id {bytes} PRIMARY KEY, room INTEGER NOT NULL, ts_ms BIGINT NOT NULL, seq BIGINT NOT NULL,
            label TEXT NOT NULL, previous TEXT NOT NULL, previous_ms BIGINT NOT NULL, confidence {real} NOT NULL,
            mood TEXT, mood_confidence {real}, arousal {real}, valence {real}, speech_ratio {real}, snr_db {real},
            level_dbfs {real}, bandwidth_hz INTEGER, late INTEGER NOT NULL, model TEXT NOT NULL
        ) {clustered}""",
        "CREATE INDEX event_of_room ON event (room, ts_ms)",
        # Rows of one minute lie together: what is written each minute are few pages.
        f"CREATE TABLE minute (minute INTEGER, room INTEGER, {_MEANS}, PRIMARY KEY (minute, room)) {{clustered}}",
        """CREATE TABLE minute_label (
            minute INTEGER, room INTEGER, label TEXT, ms BIGINT NOT NULL, PRIMARY KEY (minute, room, label)
        ) {clustered}""",
        # Rows of one room lie together: what is asked for is a room's year.
        f"CREATE TABLE hour (room INTEGER, hour INTEGER, {_MEANS}, PRIMARY KEY (room, hour)) {{clustered}}",
        """CREATE TABLE hour_label (
            room INTEGER, hour INTEGER, label TEXT, ms BIGINT NOT NULL, PRIMARY KEY (room, hour, label)
        ) {clustered}""",
    ),
    # What was before from_ms was forgotten, and is not taken in again, though a broker or a sensor still has it.
    ("ALTER TABLE room ADD COLUMN from_ms BIGINT NOT NULL DEFAULT 0",),
    # A year of every room is asked of days: of hours, sorting alone takes most of a second.
    (
        f"CREATE TABLE day (room INTEGER, day INTEGER, {_MEANS}, PRIMARY KEY (room, day)) {{clustered}}",
        """CREATE TABLE day_label (
            room INTEGER, day INTEGER, label TEXT, ms BIGINT NOT NULL, PRIMARY KEY (room, day, label)
        ) {clustered}""",
        f"INSERT INTO day SELECT room, hour / 24, {MEANS} FROM hour GROUP BY room, hour / 24",
        "INSERT INTO day_label SELECT room, hour / 24, label, sum(ms) FROM hour_label GROUP BY room, hour / 24, label",
    ),
)
_VERSION = "CREATE TABLE IF NOT EXISTS roomtone_history (version INTEGER NOT NULL)"


def prepare(engine: Engine, versions: tuple[tuple[str, ...], ...] = VERSIONS) -> None:
    """Make a store of the newest version: of an empty one, or of one of any version before.

    Raises StoreError for a store of a later version.
    """
    with engine.writing() as work:
        work.do(_VERSION)
        found = work.ask("SELECT version FROM roomtone_history")
        version = found[0][0] if found else 0
        _require_known(engine, version)
        if not found:
            work.do("INSERT INTO roomtone_history (version) VALUES (0)")
        for statements in versions[version:]:
            for statement in statements:
                work.do(statement.format(**engine.words))
        if version < len(versions):
            work.do("UPDATE roomtone_history SET version = ?", (len(versions),))


def _require_known(engine: Engine, version: int) -> None:
    if version > len(VERSIONS):
        raise StoreError(f"{engine.place}: a history of version {version}, and this roomtone knows {len(VERSIONS)}: "
                         "install the newer one")  # fmt: skip


def sum_up(work: Work, first: int, last: int, room: int | None = None) -> None:
    """Write the hours from `first` up to, but without, `last` anew, of a room or of all, and the days they are of."""
    rooms = all_rooms(work) if room is None else [room]
    _clear(work, "hour", first, last, rooms)
    for sql in _sums("minute", "hour", 60):
        if room is None:
            work.do(sql.format(where="minute >= ? AND minute < ?"), (60 * first, 60 * last))
            continue
        # A minute's rows lie together: the room's is looked for in each, not among those of all rooms.
        for begin in range(60 * first, 60 * last, AT_A_TIME):
            some = range(begin, min(begin + AT_A_TIME, 60 * last))
            work.do(sql.format(where=f"room = ? AND minute IN ({marks(some)})"), (room, *some))
    sum_days(work, first // 24, -(-last // 24), rooms)


def sum_days(work: Work, first: int, last: int, rooms: Sequence[int]) -> None:
    """Write rooms' days from `first` up to, but without, `last` anew."""
    _clear(work, "day", first, last, rooms)
    for sql in _sums("hour", "day", 24):
        work.each(sql.format(where="room = ? AND hour >= ? AND hour < ?"),
                  [(room, 24 * first, 24 * last) for room in rooms])  # fmt: skip


def all_rooms(work: Work) -> list[int]:
    return [room for (room,) in work.ask("SELECT room FROM room")]


def marks(values: Sequence[object]) -> str:
    """Return as many question marks."""
    return ", ".join("?" * len(values))


def _clear(work: Work, whole: str, first: int, last: int, rooms: Sequence[int]) -> None:
    for table in (whole, f"{whole}_label"):
        work.each(f"DELETE FROM {table} WHERE room = ? AND {whole} >= ? AND {whole} < ?",
                  [(room, first, last) for room in rooms])  # fmt: skip


def _sums(part: str, whole: str, parts: int) -> tuple[str, str]:
    """Return SQL that sums means, and labels, of parts up to a whole's; {where}: of which parts."""
    number = f"{part} / {parts}"
    return (
        f"INSERT INTO {whole} SELECT room, {number}, {MEANS} FROM {part} WHERE {{where}} GROUP BY room, {number}",
        f"INSERT INTO {whole}_label SELECT room, {number}, label, sum(ms) FROM {part}_label WHERE {{where}} "
        f"GROUP BY room, {number}, label",
    )
