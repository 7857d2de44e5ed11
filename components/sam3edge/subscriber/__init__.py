"""What consumers of devices' messages need: a durable subscription, frames whole again, and sinks for them.

Needs paho-mqtt (extra ``subscriber``). The shortest consumer is a function and a ``Subscriber``
(``subscriber/subscriber.py``); ``sam3edge listen`` is a ``Listener`` (``subscriber/listener.py``) with sinks.
"""
