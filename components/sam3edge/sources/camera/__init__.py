"""Cameras, streams and video files."""
