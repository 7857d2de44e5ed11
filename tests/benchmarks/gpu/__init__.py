"""How fast SAM 3 runs here: our torch engine, bundles in ONNX Runtime, and what others run, in one go.

PYTHONPATH=tests python -m benchmarks.gpu --out tests/benchmarks/results [--only ours --only batches ...]

Each row is said as soon as it is measured, most wanted first. Nothing has to be installed beside the libraries: with
PYTHONPATH=tests:components:export:pipeline it runs from a copy of the repository.

Weights are random, for time does not depend on them. What does depend on weights is how many queries are admitted and
what their masks look like, and both are set: thresholds are laid between the scores of random weights so that exactly
the wanted number of queries is admitted of every prompt that is to be present, and none of the others; and the outlines
are taken of ellipses in place of the noise that random weights draw.
"""
