"""Bring a checkpoint: from the Hugging Face Hub, with consent to its licence, or from a bucket of the user's own."""

from sam3edge_export.download.hub import License, fetch_from_hub
from sam3edge_export.download.resumable import FetchError, Progress
from sam3edge_export.download.s3 import fetch_from_s3, s3_client

__all__ = ["FetchError", "License", "Progress", "fetch_from_hub", "fetch_from_s3", "s3_client"]
