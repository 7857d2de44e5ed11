"""A picture of a stage's stacks, drawn from its cloud assembly: ``graph.py`` reads, ``drawing.py`` draws."""
