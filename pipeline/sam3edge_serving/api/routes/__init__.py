"""One module for each resource: from a request to a reply."""
