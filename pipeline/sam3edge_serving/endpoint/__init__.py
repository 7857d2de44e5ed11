"""The cloud endpoint: the device's model and the device's answers over HTTP, in the way SageMaker serves containers.

    bytes -> wire format -> Frame and Prompts -> Batcher -> Engine -> instances -> wire format -> bytes

``app.py`` is the HTTP surface, ``service.py`` what happens to one request, ``batching.py`` the one thread that owns the
model, ``wire/`` the formats that users of other systems send and expect. Pictures, outlines and the GeoJSON are those
of the device's own code.
"""
