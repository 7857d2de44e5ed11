"""The inference component."""
