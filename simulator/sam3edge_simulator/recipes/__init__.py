"""Component recipes: reading, platforms, versions, variables, access control, resolution."""
