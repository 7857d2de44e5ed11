"""What one container image does in each step of the pipeline, in SageMaker's layout of folders.

    python -m sam3edge_pipeline.steps.prepare|train|evaluate|export|register [--root /opt/ml] [NAME=VALUE ...]

A processing step reads below ``processing/input`` and writes below ``processing/output``, and is told the rest as
arguments; the training step reads
``input/config/hyperparameters.json`` and ``input/data/<channel>``, keeps its state in ``checkpoints`` and leaves the
model in ``model``. Both put the reason of a failure into ``output/failure``, which SageMaker shows.
https://docs.aws.amazon.com/sagemaker/latest/dg/amazon-sagemaker-toolkits.html
"""
