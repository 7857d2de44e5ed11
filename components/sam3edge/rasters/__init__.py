"""Objects in rasters of any size, tile by tile, in bounded memory. Needs the extra ``geo``."""
