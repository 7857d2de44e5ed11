"""Hard examples from a device's segmenter to a bucket, by the recipes as they are deployed, on both nuclei."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import jsonschema
import pytest

from sam3edge.cli.schemas import detections_schema
from sam3edge_simulator.profiles import CLASSIC, LITE, Profile
from support.device_rig import SEGMENTER, UPLOADER, Rig
from support.fake_s3 import fake_s3

pytestmark = pytest.mark.long


@pytest.mark.parametrize("profile", [CLASSIC, LITE], ids=["classic", "lite"])
def test_from_the_camera_to_the_bucket(make_rig: Callable[..., Rig], profile: Profile) -> None:
    with fake_s3() as s3:
        s3.authorization = ""  # the nucleus draws its tokens itself
        rig = make_rig(profile, s3.exchange)
        rig.deploy_uploader(Bucket=s3.bucket, Region=s3.region, Endpoint=s3.url)
        rig.deploy_model()
        rig.deploy_segmenter(HardExamples={"Enabled": True, "Kinds": "random", "RandomShare": 1})
        rig.put_scene("a.png", 1_000_001)
        rig.wait(lambda: any(key.endswith("example.json") for key in s3.objects))
        [document_key] = [key for key in s3.objects if key.endswith("example.json")]
        assert document_key.startswith("hard-examples/line-7/")
        document = json.loads(s3.objects[document_key])
        frame = s3.objects[document_key.replace("example.json", "frame.jpg")]
        assert hashlib.sha256(frame).hexdigest() == document["image"]["sha256"]
        assert document["frame"]["name"] == "a.png"
        jsonschema.Draft202012Validator(detections_schema()).validate(document["device"])
        folder = rig.root / "device" / "work" / SEGMENTER / "hard-examples"
        rig.wait(lambda: not list(folder.iterdir()))
        rig.wait(lambda: any(beat["examples"]["uploaded"] == 1 for beat in rig.consumer.on("status/uploader")))
        assert rig.nucleus.component(UPLOADER).errors == 0
