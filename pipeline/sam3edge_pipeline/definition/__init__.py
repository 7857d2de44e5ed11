"""The pipeline as SageMaker executes it: prepare, train, evaluate, decide, export, register.

``build.py`` writes the definition with SageMaker's SDK, which is large and in an extra of its own; what it writes is
kept beside it as ``pipeline.json``, so that a change of the definition is seen in review, and that everything else
(deployment, the interpreter of the local run) needs no SDK.
"""
