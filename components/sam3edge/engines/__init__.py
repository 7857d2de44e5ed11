"""What segments a frame: ONNX Runtime on the device, a deterministic fake for tests."""
