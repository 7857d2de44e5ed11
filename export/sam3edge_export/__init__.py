"""From a SAM 3 checkpoint to a bundle that a device can run."""
