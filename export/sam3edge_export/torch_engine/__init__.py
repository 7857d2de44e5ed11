"""SAM 3 in torch: the reference that exports are compared with, and the engine of the cloud."""

from sam3edge_export.torch_engine.engine import TorchEngine
from sam3edge_export.torch_engine.options import REFERENCE, Identity, TorchOptions, cloud_options

__all__ = ["REFERENCE", "Identity", "TorchEngine", "TorchOptions", "cloud_options"]
