"""A laptop nucleus: Greengrass v2 as a component sees it, on one machine.

From the outside in::

    __main__            command line: run, deploy, rollback, set-config, restart, status, logs
    control             how the command line reaches a running nucleus
    nucleus             Nucleus, one device: start here
    deployer            resolve, check, ask, switch, watch, go back
    deployment_document what a deployment asks for, and how it ended
    history             what the device remembers: versions, configuration, what ran before
    components          all components of a device, their states and dependencies
    supervision         one component's lifecycle in its own thread
    step_runner, processes, component_log      its steps as process groups, and what they say
    lifecycle, interpolation, device        scripts made ready: variables, environment, time limits
    recipes, platforms, semver, resolution, artifacts       what is installed, and that it is unchanged
    configuration       values with time stamps: merge, reset, watch
    serving, serving_messages, access, component_notices, local_topics      the IPC operations
    cloud, broker_url   the connection to whatever stands in for AWS IoT Core
    ipc                 the wire protocol, the server, its faults, and a nucleus in memory for tests
    broker, cable       an embedded MQTT broker, and a network that can be cut
    profiles            the two nuclei in numbers and rules
    states, topics      names of states; MQTT topics with IoT Core's limits
    demo                the demonstration
"""
