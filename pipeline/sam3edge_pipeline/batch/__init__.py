"""Many rasters at once: found in folders, S3 or STAC items, segmented as a single one is, written as GeoParquet.

inputs -> RasterInput -> RasterWorker, in this process or in Ray's -> a shard of features and a Report for each
"""
