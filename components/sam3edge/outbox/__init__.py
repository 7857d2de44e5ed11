"""The durable queue between the flow and a publisher.

outbox     Outbox: queue, window, overflow; by ``limits`` (how much), on ``storage``
storage    transactions that survive damage (``salvage``) and full disks (``reserve``); on ``database`` (the file) and
           ``table`` (SQL)
delivery   Delivery: threads that bring messages from an outbox to a publisher, by the rules of ``retry``
"""
