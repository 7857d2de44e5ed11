"""Promptable segmentation (SAM 3) on AWS IoT Greengrass devices."""

__version__ = "0.1.0"
