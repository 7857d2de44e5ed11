"""Model bundles: the folder that is the interface between training and devices."""
