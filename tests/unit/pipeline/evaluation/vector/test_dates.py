"""Dates as tags and tables write them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from sam3edge.core.errors import SettingsError
from sam3edge_pipeline.evaluation.vector.dates import (
    Period,
    date_warnings,
    period_of,
    raster_date,
    required_period,
)

DAY = Period(date(2017, 6, 1), date(2017, 6, 1))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("2017-06-01", DAY),
        ("2017/06/01", DAY),
        ("2017:06:01 18:04:25", DAY),
        ("20170601", DAY),
        ("20170601_180425_0f35", DAY),  # as a scene of Planet is called
        ("2017-06-01T18:04:25Z", DAY),
        (date(2017, 6, 1), DAY),
        (datetime(2017, 6, 1, 23, 59), DAY),
        ("2017-02", Period(date(2017, 2, 1), date(2017, 2, 28))),
        ("2017-12", Period(date(2017, 12, 1), date(2017, 12, 31))),
        (2016, Period(date(2016, 1, 1), date(2016, 12, 31))),
        (2016.0, Period(date(2016, 1, 1), date(2016, 12, 31))),
        ("2017-13-01", None),
        ("2017-02-30", None),
        ("0000", None),
        ("9999", None),
        ("June", None),
        ("", None),
        (None, None),
        (True, None),
        (20_170_601_000, None),
    ],
)
def test_a_date_is_a_day_a_month_or_a_year(said: Any, expected: Period | None) -> None:
    assert period_of(said) == expected


def test_the_distance_is_that_of_what_is_farthest_apart() -> None:
    years = Period(date(2015, 1, 1), date(2015, 12, 31))
    assert DAY.days_from(years) == years.days_from(DAY) == (date(2017, 6, 1) - date(2015, 1, 1)).days
    assert DAY.days_from(DAY) == 0
    assert (DAY | years) == Period(date(2015, 1, 1), date(2017, 6, 1))


def test_the_rasters_acquisition_counts_before_its_files_date() -> None:
    tags = {"TIFFTAG_DATETIME": "2020:01:01 00:00:00", "ACQUISITIONDATETIME": "2017-06-01 18:04:25"}
    assert raster_date(tags) == DAY
    assert raster_date({"TIFFTAG_DATETIME": "2017:06:01 00:00:00"}) == DAY
    assert raster_date({"TIFFTAG_DATETIME": "yesterday"}) is None
    assert raster_date({}) is None


def test_a_reader_is_warned_of_what_is_not_known_or_far_apart() -> None:
    assert len(list(date_warnings(None, None, 90))) == 2
    assert list(date_warnings(DAY, DAY, 0)) == []
    [warning] = date_warnings(DAY, Period(date(2015, 7, 1), date(2015, 7, 1)), 90)
    assert "the truth is of 2015-07-01, the raster of 2017-06-01: up to 701 days apart" in warning


def test_what_is_typed_must_be_a_date() -> None:
    assert required_period("", "--truth-date") is None
    assert required_period("2017-06-01", "--truth-date") == DAY
    with pytest.raises(SettingsError, match=r"such as 2017-06-01, or a year, as --truth-date, got 'soon'"):
        required_period("soon", "--truth-date")
