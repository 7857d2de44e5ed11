"""The model's side: what is asked of the endpoint, by whatever way, and what it may answer."""
