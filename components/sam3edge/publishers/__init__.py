"""Where messages leave: the durable outbox and the transports behind it.

    outbox     Outbox: queue, window, overflow; on ``rows`` (SQL), ``database`` (the file) and ``bounds`` (how much)
    delivery   Delivery: threads that bring messages from an outbox to a publisher; by the rules of ``schedule``
    files      FilesPublisher: messages in a folder
    fake       FakePublisher: messages in memory, failures as scripted

The publisher to AWS IoT Core is ``sam3edge.greengrass.publisher``.
"""
