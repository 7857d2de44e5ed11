"""The cost table: quantities by the stage, prices by the data file, and the page that shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sam3edge.core.errors import SettingsError
from sam3edge_infra.costs.__main__ import assumptions, details, main, table
from sam3edge_infra.costs.estimate import (
    FOLDER,
    GROUPS,
    INTERFACE_ENDPOINTS,
    Item,
    cost,
    items_of,
    per_month,
    read_prices,
    read_usage,
)
from sam3edge_infra.stacks.pipeline_definition import KEPT, steps_of
from sam3edge_infra.stages.delivery import Delivery, S3Source, Simulator
from sam3edge_infra.stages.files import read_stage
from support.infra_templates import STAGES

ROOT = Path(__file__).parents[3]
PRICES = read_prices()
USAGE = read_usage()


def usd(stage: str, group: str, **usage: float) -> float:
    items = items_of(read_stage(stage), {**USAGE, **usage})
    return sum(cost(item, PRICES) for item in items if item.group == group)


def test_every_stage_has_all_its_prices() -> None:
    for name in STAGES:
        items = items_of(read_stage(name), USAGE)
        assert sum(cost(item, PRICES) for item in items) > 0
        assert {item.group for item in items} <= set(GROUPS)


def test_a_price_that_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match=r"a price of ml\.p5\.48xlarge in costs/prices\.json; add it"):
        cost(Item("endpoint", "ml.p5.48xlarge", 1), PRICES)


def test_an_endpoint_costs_by_its_kind() -> None:
    instance = PRICES["ml.c7i.xlarge"].usd
    assert usd("dev", "endpoint", hours=100) == pytest.approx(100 * instance)
    assert usd("prod", "endpoint", async_hours=10) == pytest.approx(10 * PRICES["ml.g6e.2xlarge"].usd)
    assert usd("lite", "endpoint", requests=1000, serverless_seconds=2) == pytest.approx(1000 * 2 * 6 * 0.00002)
    assert usd("none", "endpoint") == 0


def test_a_network_costs_by_its_egress() -> None:
    assert usd("lite", "network", hours=100) == pytest.approx(INTERFACE_ENDPOINTS * 2 * 100 * 0.01)
    assert usd("dev", "network", hours=100, nat_gb=10) == pytest.approx(100 * 0.045 + 10 * 0.045)
    assert usd("prod", "network") == 0  # somebody else's


def test_training_costs_what_spot_instances_cost_and_needs_their_quota() -> None:
    """A quota of instances on demand would not help: the definition asks for spot instances."""
    [train] = [step for step in steps_of(json.loads(KEPT.read_text())) if step["Type"] == "Training"]
    assert train["Arguments"]["EnableManagedSpotTraining"] is True
    guide = (ROOT / "docs" / "deployment.md").read_text()
    assert "for spot training job usage" in guide
    assert "for processing job usage" in guide
    usage = {"trainings_by_examples": 0, "training_hours": 10, "processing_hours": 0, "spot_share": 0.5}
    trainings = per_month("rate(7 days)")
    assert usd("dev", "training", **usage) == pytest.approx(trainings * 10 * 0.5 * PRICES["ml.g6e.2xlarge"].usd)


def test_devices_cost_in_proportion() -> None:
    assert usd("dev", "devices", devices=1000) == pytest.approx(100 * usd("dev", "devices", devices=10))


def test_a_simulator_and_a_delivery_cost_where_there_are() -> None:
    source = S3Source(kind="s3", bucket="sources", key="x.zip")
    stage = read_stage("dev").model_copy(update={"simulator": Simulator(), "delivery": Delivery(source=source)})
    groups = {item.group for item in items_of(stage, USAGE)}
    assert groups - {item.group for item in items_of(read_stage("dev"), USAGE)} == {"simulator", "delivery"}


@pytest.mark.parametrize(
    ("schedule", "times"),
    [
        (None, 0),
        ("rate(1 day)", 365 / 12),
        ("rate(12 hours)", 2 * 365 / 12),
        ("cron(0 3 ? * SUN *)", 365 / 12 / 7),
        ("cron(0 3 1 * ? *)", 1),
        ("cron(30 4 * * ? *)", 365 / 12),
    ],
)
def test_a_schedule_is_due_so_often_a_month(schedule: str | None, times: float) -> None:
    assert per_month(schedule) == pytest.approx(times)


@pytest.mark.parametrize("schedule", ["cron(0/5 * ? * SUN *)", "cron(0 3 ? * MON-FRI *)"])
def test_a_schedule_that_cannot_be_counted_is_refused(schedule: str) -> None:
    with pytest.raises(SettingsError, match="expected a schedule"):
        per_month(schedule)


def test_every_price_says_where_it_was_seen_or_that_it_was_not() -> None:
    raw = json.loads((FOLDER / "prices.json").read_text())
    assert raw["region"]
    assert raw["of"]
    assert all(price.seen is None or price.seen.startswith("https://") for price in PRICES.values())
    shown = details(items_of(read_stage("dev"), USAGE), PRICES)
    assert shown.count("recalled, to be checked") == sum(
        PRICES[item.price].seen is None for item in items_of(read_stage("dev"), USAGE)
    )


def test_the_guide_shows_this_table() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text()
    assert table({name: items_of(read_stage(name), USAGE) for name in STAGES}, PRICES) in page
    assert assumptions() in page


def test_the_command_line_names_a_stage_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stage", "nowhere"]) == 2
    assert "expected a stage of " in capsys.readouterr().err
    assert main(["--stage", "none", "--devices", "1000"]) == 0
    assert "Greengrass core device | 1,000.00 month" in capsys.readouterr().out


def test_a_fleet_of_less_than_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--devices", "-5"])
    assert "expected 0 or more, got -5" in capsys.readouterr().err
