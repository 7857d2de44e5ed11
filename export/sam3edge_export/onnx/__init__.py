"""The graphs as ONNX files, and their precisions."""
