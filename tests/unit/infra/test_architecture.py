"""The picture of the stacks: what is read from a cloud assembly, and that the one in docs is the default stage's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sam3edge_infra.architecture.__main__ import main
from sam3edge_infra.architecture.drawing import GRID, QUIET, draw
from sam3edge_infra.architecture.graph import Graph, StackNode, Use, read_graph
from support.infra_templates import Templates

ROOT = Path(__file__).parents[3]
SVG = "{http://www.w3.org/2000/svg}"
BUCKET = "sam3edge-dev-examples-111122223333-eu-central-1"


def resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": kind, "Properties": properties}


def assembly(folder: Path, stacks: dict[str, list[dict[str, Any]]], nested: str = "") -> Path:
    """Write a cloud assembly; the stack ``nested`` is in an assembly of its own."""
    artifacts: dict[str, dict[str, Any]] = {"tree": {"type": "cdk:tree"}}
    for name, resources in stacks.items():
        inside = folder / "assembly-x" if name == nested else folder
        inside.mkdir(parents=True, exist_ok=True)
        template = {"Resources": {f"R{number}ABCDEF12": one for number, one in enumerate(resources)}}
        (inside / f"{name}.template.json").write_text(json.dumps(template))
        artifact = {
            "type": "aws:cloudformation:stack",
            "properties": {"templateFile": f"{name}.template.json", "stackName": f"sam3edge-dev-{name}"},
        }
        if name == nested:
            (inside / "manifest.json").write_text(json.dumps({"artifacts": {name: artifact}}))
            artifacts["x"] = {"type": "cdk:cloud-assembly", "properties": {"directoryName": "assembly-x"}}
        else:
            artifacts[name] = artifact
    (folder / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    return folder


STACKS = {
    "storage": [resource("AWS::S3::Bucket", BucketName=BUCKET), resource("AWS::S3::BucketPolicy", Bucket="x")],
    "network": [resource("AWS::EC2::VPC")],
    "labeling": [
        resource("AWS::Lambda::Function", FunctionName="sam3edge-dev-labeling-start", Env=BUCKET),
        resource("AWS::SQS::Queue", QueueName="sam3edge-dev-labeling"),
    ],
    "training": [
        resource("AWS::Lambda::Function", Target="arn:aws:sqs:eu-central-1:111122223333:sam3edge-dev-labeling"),
        resource("AWS::EC2::Instance", SubnetId="/sam3edge/dev/network/subnet-1"),
        resource(
            "AWS::IoT::TopicRule", RuleName="sam3edge_dev_r", TopicRulePayload={"Sql": "FROM 'sam3edge/+/errors'"}
        ),
    ],
}


def test_a_stack_uses_those_whose_resources_it_names(tmp_path: Path) -> None:
    graph = read_graph(assembly(tmp_path, STACKS), "dev")
    assert graph.uses == (
        Use("labeling", "storage", ("examples",)),
        Use("training", "labeling", ("labeling",)),
        Use("training", "network", ()),
    )


def test_a_name_within_a_longer_one_is_not_named(tmp_path: Path) -> None:
    """``labeling`` is a queue, ``labeling-start`` something else."""
    stacks = {**STACKS, "training": [resource("AWS::SQS::Queue", X="sam3edge-dev-labeling-later")]}
    assert [use.by for use in read_graph(assembly(tmp_path, stacks), "dev").uses] == ["labeling"]


def test_names_are_without_stage_account_and_region(tmp_path: Path) -> None:
    graph = read_graph(assembly(tmp_path, STACKS), "dev")
    found = {node.name: dict(node.resources) for node in graph.stacks}
    assert found["storage"] == {"S3 bucket": ("examples",)}
    assert found["labeling"] == {"Lambda function": ("labeling-start",), "SQS queue": ("labeling",)}
    assert [node.topics for node in graph.stacks if node.name == "training"] == [("errors",)]


def test_stacks_of_a_pipeline_are_found(tmp_path: Path) -> None:
    """A delivery puts the stacks into an assembly of their own."""
    nested = read_graph(assembly(tmp_path / "nested", STACKS, nested="storage"), "dev")
    assert nested == read_graph(assembly(tmp_path / "flat", STACKS), "dev")


def test_a_stage_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(assembly(tmp_path, STACKS))
    assert main(["--assembly", folder, "--stage", "prod", "--out", str(tmp_path / "x.svg")]) == 2
    assert "make synth STAGE=prod first" in capsys.readouterr().err
    assert main(["--assembly", str(tmp_path / "none"), "--out", str(tmp_path / "x.svg")]) == 2


def drawn(tmp_path: Path) -> ElementTree.Element:
    return ElementTree.fromstring(draw(read_graph(assembly(tmp_path, STACKS), "dev")))


def test_every_stack_is_a_box_and_every_use_an_arrow(tmp_path: Path) -> None:
    picture = drawn(tmp_path)
    names = [one.text for one in picture.iter(f"{SVG}text") if one.get("class") == "name"]
    assert sorted(filter(None, names)) == ["devices", "labeling", "network", "storage", "training"]
    titles = [one.text for one in picture.iter(f"{SVG}title")]
    assert titles == [
        "labeling uses storage: examples",
        "training uses labeling: labeling",
        "training uses network",
        "messages: errors",
    ]
    assert len(list(picture.iter(f"{SVG}polyline"))) == len(titles)


def test_boxes_do_not_cover_each_other_and_are_in_the_picture(tmp_path: Path) -> None:
    picture = drawn(tmp_path)
    page, *boxes = (
        tuple(float(one.get(side, "0")) for side in ("x", "y", "width", "height")) for one in picture.iter(f"{SVG}rect")
    )
    for number, (x, y, width, height) in enumerate(boxes):
        assert x + width < page[2]
        assert y + height < page[3]
        for other in boxes[number + 1 :]:
            apart = x + width <= other[0] or other[0] + other[2] <= x
            assert apart or y + height <= other[1] or other[1] + other[3] <= y


def test_every_arrow_begins_and_ends_at_its_boxes() -> None:
    """Whatever the places of two stacks are: side by side, below each other, or with others between."""
    names = [name for row in GRID for name in row if name not in (*QUIET, "devices")]
    nodes = tuple(StackNode(name, {}, ()) for name in names)
    for start in names:
        for end in names:
            if start == end:
                continue
            picture = ElementTree.fromstring(draw(Graph("dev", nodes, (Use(start, end, ()),))))
            (line,) = picture.iter(f"{SVG}polyline")
            points = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
            page, *rects = picture.iter(f"{SVG}rect")
            labels = [one.text or "" for one in picture.iter(f"{SVG}text") if one.get("class") == "name"]
            boxes = dict(zip(labels, rects, strict=True))
            for name, (x, y) in ((start, points[0]), (end, points[-1])):
                left, top = float(boxes[name].get("x", "0")), float(boxes[name].get("y", "0"))
                wide, high = float(boxes[name].get("width", "0")), float(boxes[name].get("height", "0"))
                on_side = x in (left, left + wide) and top <= y <= top + high
                assert on_side or (y in (top, top + high) and left <= x <= left + wide), (start, end)
            assert all(0 < x < float(page.get("width", "0")) and y > 0 for x, y in points)


def test_a_stack_that_nobody_has_placed_is_drawn() -> None:
    picture = draw(Graph("dev", (StackNode("new", {}, ()), StackNode("storage", {}, ())), ()))
    assert ">new</text>" in picture


def test_the_picture_in_docs_is_the_default_stages(templates: Templates) -> None:
    """After a change of what is deployed: ``make architecture``. It holds names and no hashes."""
    drawn_now = draw(read_graph(templates.root / "dev", "dev"))
    assert (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8") == drawn_now
