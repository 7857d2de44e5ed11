"""The durable queue between the flow and a publisher.

outbox     Outbox: queue, window, overflow; on ``table`` (SQL), ``database`` (the file) and ``limits`` (how much)
delivery   Delivery: threads that bring messages from an outbox to a publisher, by the rules of ``retry``
"""
