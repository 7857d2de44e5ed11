"""SAM 3 and SAM 3.1 checkpoints: Meta's files and transformers folders, read into transformers' models."""

from sam3edge_export.checkpoint.config import published_config, size_step, tracker_config, with_input_size
from sam3edge_export.checkpoint.errors import CheckpointError
from sam3edge_export.checkpoint.load import Checkpoint, read_checkpoint, read_config
from sam3edge_export.checkpoint.record import FetchRecord, read_record

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "FetchRecord",
    "published_config",
    "read_checkpoint",
    "read_config",
    "read_record",
    "size_step",
    "tracker_config",
    "with_input_size",
]
