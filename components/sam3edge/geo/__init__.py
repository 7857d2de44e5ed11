"""Where on Earth pixels are: rasters, cameras, drones; what a detection is there. Needs the extra ``geo``."""
