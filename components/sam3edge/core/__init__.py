"""The domain: values, ports and the one flow. Knows numpy, OpenCV and shapely; no cloud, IPC, torch or ONNX Runtime."""
