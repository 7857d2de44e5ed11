"""The client of the endpoint that runs the same model in the cloud: by plain HTTP, or through SageMaker."""
