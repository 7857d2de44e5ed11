"""ONNX Runtime, silent: every module of ours gets it from here.

From version 1.29 on it writes an identifier of the device and a queue of events below the cache folder of the user,
unless it is told not to before it is imported.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort  # the variable must be set before

ort.disable_telemetry_events()

__all__ = ["ort"]
