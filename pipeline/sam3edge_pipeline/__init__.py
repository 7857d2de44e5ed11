"""Training, pipeline steps and the cloud endpoint."""
