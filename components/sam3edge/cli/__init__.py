"""The command line for people without a device."""
