"""What endpoint and API share of HTTP: errors, and images by address."""
