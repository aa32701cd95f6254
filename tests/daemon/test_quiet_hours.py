"""Quiet hours by the wall clock, against moments whose local time is known."""

import sys
import zoneinfo
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from edge.config import QuietHours
from edge.daemon.quiet_hours import QuietClock
from edge.errors import ConfigError

BERLIN = QuietHours(start="22:30", end="07:00", time_zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("local", "quiet"),
    [
        ("2026-01-10T22:29", False),
        ("2026-01-10T22:30", True),
        ("2026-01-11T00:00", True),
        ("2026-01-11T06:59", True),
        ("2026-01-11T07:00", False),
        ("2026-07-10T22:29", False),  # summer time: another offset, the same clock on the wall
        ("2026-07-10T22:30", True),
        ("2026-03-29T03:30", True),  # the night in which 02:30 does not exist
        ("2026-10-25T02:30", True),  # and the one in which it comes twice
        ("2026-10-25T07:00", False),
    ],
)
def test_over_midnight_and_over_daylight_saving(local, quiet):
    moment = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    assert QuietClock(BERLIN).quiet(moment.timestamp()) is quiet


def test_within_a_day_and_none_at_all():
    noon = QuietClock(QuietHours(start="12:00", end="13:00"))
    day = datetime(2026, 1, 10, tzinfo=ZoneInfo("UTC")).timestamp()
    assert [noon.quiet(day + hour * 3_600) for hour in (11.99, 12, 12.99, 13)] == [False, True, True, False]
    assert not QuietClock(None).quiet(day)


def test_without_time_zones_there_is_utc_and_a_word_on_what_to_install(monkeypatch):
    for name in ["tzdata", *(name for name in sys.modules if name.startswith("tzdata."))]:  # of a test before, perhaps
        monkeypatch.setitem(sys.modules, name, None)  # the package from PyPI, where it is installed
    zoneinfo.reset_tzpath(to=[])
    ZoneInfo.clear_cache()
    try:
        night = QuietClock(QuietHours(start="22:00", end="07:00"))
        assert night.quiet(datetime(2026, 1, 10, 23, tzinfo=UTC).timestamp())
        with pytest.raises(ConfigError, match=r"'Europe/Berlin' .*: install tzdata"):
            QuietClock(BERLIN)
    finally:
        zoneinfo.reset_tzpath()
        ZoneInfo.clear_cache()


def test_a_time_zone_nobody_knows_is_named():
    with pytest.raises(ConfigError, match="unknown time zone 'Europe/Nowhere'"):
        QuietClock(QuietHours(start="22:00", end="07:00", time_zone="Europe/Nowhere"))
