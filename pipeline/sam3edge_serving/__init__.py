"""What answers requests in the cloud: the SageMaker container and the API in front of it."""
