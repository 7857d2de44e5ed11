"""When a model is trained again: labels are asked for, and what comes of them starts the pipeline."""
