"""Greengrass components as AWS takes them: recipes and artifacts."""
