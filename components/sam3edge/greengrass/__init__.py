"""The Greengrass nucleus as seen by a component, over the official IPC client.

nucleus        Nucleus: what a component needs; the seam
client         GreengrassClient: the real one; on ``connection`` (requests, and the end of the connection),
               ``streams`` (subscriptions that are kept open), ``configuration`` and ``events`` (callbacks)
publisher      GreengrassPublisher: the Publisher port over a Nucleus
commands       Commands: each obeyed once and acknowledged
probe          CloudProbe: finds subscriptions that have gone deaf; optional
install        the install step; provider_report: which execution providers run here; jetpack: what can run on a Jetson
fake           FakeNucleus: in memory
"""
