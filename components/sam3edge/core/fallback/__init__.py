"""When the cloud is asked, and whose detections are published."""
