"""What a stage costs a month: list prices (``prices.json``) times stated use (``usage.json``), by ``estimate.py``."""
