"""Where whole messages go. Each module is one kind of place."""
