"""The model component: verifies a bundle and makes it the device's current one."""
