"""The live page: what devices see, in a browser, over MQTT."""
