"""How good detections on a raster are, against areas on a map that somebody has drawn; ``__main__`` is the way in."""
