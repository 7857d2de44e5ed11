"""Frames that are worth a label."""
