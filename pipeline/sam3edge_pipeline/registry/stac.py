"""A release as a STAC item of the Machine Learning Model extension, for catalogs of geodata.

Sources: the item specification of STAC 1.1 and https://github.com/stac-extensions/mlm. A model that is not of one place
on the globe has a null geometry and no bounding box; one that is not of one time has an interval.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sam3edge.bundle.manifest import FAMILIES
from sam3edge.durable import write_file
from sam3edge_pipeline.registry.release import Release

MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"

_SHA256_MULTIHASH = "1220"
"""What precedes a SHA-256 as a multihash, which ``file:checksum`` is."""

_FOREVER = "9999-12-31T23:59:59Z"


def stac_item(release: Release) -> dict[str, Any]:
    """The item: what goes in, what comes out, and where each file of the bundle is."""
    manifest = release.manifest
    side = manifest.input_size
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [MLM, FILE],
        "id": f"{manifest.name}-{manifest.version}-{release.digest.removeprefix('sha256:')[:12]}",
        "geometry": None,
        "properties": {
            "description": f"{FAMILIES[manifest.family]}, promptable instance segmentation on edge devices",
            "datetime": None,
            "start_datetime": release.created_at,
            "end_datetime": _FOREVER,
            "created": release.created_at,
            "mlm:name": manifest.name,
            "mlm:architecture": FAMILIES[manifest.family],
            "mlm:tasks": ["instance-segmentation", "object-detection"],
            "mlm:framework": "ONNX",
            "mlm:pretrained": True,
            "mlm:pretrained_source": release.lineage.checkpoint_digest,
            "mlm:input": [
                {
                    "name": "image",
                    "bands": [],
                    "input": {
                        "shape": [1, 3, side, side],
                        "dim_order": ["batch", "channel", "height", "width"],
                        "data_type": "float32",
                    },
                }
            ],
            "mlm:output": [
                {
                    "name": "instances",
                    "tasks": ["instance-segmentation", "object-detection"],
                    "result": {
                        "shape": [-1, side, side],
                        "dim_order": ["instance", "height", "width"],
                        "data_type": "float32",
                    },
                }
            ],
            "mlm:hyperparameters": {"precision": manifest.precision, "score_rule": manifest.score_rule},
        },
        "links": [],
        "assets": {
            "manifest": {
                "href": f"{release.bundle_uri}manifest.json",
                "type": "application/json",
                "roles": ["mlm:model", "metadata"],
                "title": f"Bundle {release.digest}",
            },
            **{
                name: {
                    "href": f"{release.bundle_uri}{name}",
                    "type": "application/octet-stream",
                    "roles": ["mlm:model"],
                    "file:size": entry.size,
                    "file:checksum": _SHA256_MULTIHASH + entry.sha256,
                }
                for name, entry in sorted(manifest.files.items())
                if name.endswith(".onnx")
            },
            "evaluation": {"href": release.evaluation, "type": "application/json", "roles": ["metadata"]},
            "parity": {"href": release.parity, "type": "application/json", "roles": ["metadata"]},
        },
    }


def write_stac_item(path: Path, release: Release) -> None:
    """Write the item, whole or not at all; raises OSError."""
    write_file(path, (json.dumps(stac_item(release), indent=1, sort_keys=True) + "\n").encode())
