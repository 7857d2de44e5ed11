"""The JSON Schema of every topic, as data."""
