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
    lifecycle, device   scripts made ready: variables, environment, time limits
    step_runner, processes, component_log      its steps as process groups, and what they say
    artifacts           what is installed, and that it is unchanged
    configuration       values with time stamps: merge, reset, watch
    component_operations, pubsub_operations, update_events, local_topics       the IPC operations
    ipc                 the wire protocol, the server, its faults, and a nucleus in memory for tests
    recipes             recipe, access control, interpolation, platforms, versions and their resolution
    mqtt                cloud (the connection to IoT Core's stand-in), an embedded broker, a network that can be cut,
                        topics with IoT Core's limits
    profiles            the two nuclei in numbers and rules
    states              names of states
    api_gateway         the cloud API on this computer
    demo                the demonstration
"""
