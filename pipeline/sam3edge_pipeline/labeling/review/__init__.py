"""Our own review: a durable queue of images with proposals, and a local page that is driven by keys."""
