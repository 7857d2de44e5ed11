"""Does the export still find the same objects? The gate between a checkpoint and its bundle, and its report."""
