"""MQTT: topics, an embedded broker, the connection to it, and a TCP proxy that can be cut."""
