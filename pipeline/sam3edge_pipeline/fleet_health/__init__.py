"""How devices fare: their heartbeats, kept by a rule of IoT Core, become a few metrics for each thing group.

    IoT Core (status) -> rule -> DynamoDB, the last heartbeat of each device
    every five minutes: groups' members and last heartbeats -> metrics of a group, and the names of devices in the log

A device that says nothing cannot send a metric of its silence: so members are counted against heartbeats. And metrics
are of groups, not of devices, because each metric and each alarm is paid for.
"""
