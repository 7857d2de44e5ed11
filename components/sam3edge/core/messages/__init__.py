"""Everything that leaves on MQTT."""
