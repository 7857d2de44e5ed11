"""Where frames come from: a watched folder or a camera."""
