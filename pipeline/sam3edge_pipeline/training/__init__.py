"""Training of the small demo model: same architecture as SAM 3, trained from scratch on synthetic scenes."""
