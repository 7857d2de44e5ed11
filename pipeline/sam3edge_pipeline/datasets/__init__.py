"""Images whose objects somebody has outlined: what they are, where they are kept, in which formats they arrive."""
