"""Devices' messages in the words of Home Assistant and of Frigate, on a broker that those listen to.

A bridge, and not something that devices publish themselves: what a device may publish stays a handful of topics below
its own name, and who has Home Assistant has a broker near it.
"""
