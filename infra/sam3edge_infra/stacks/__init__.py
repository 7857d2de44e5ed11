"""One stack a module. Each takes the values that it needs of others, and has typed values for those after it."""
