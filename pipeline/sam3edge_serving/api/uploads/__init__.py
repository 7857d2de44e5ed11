"""Images too large for a request: uploaded to S3, answered by the asynchronous endpoint, fetched when ready."""
