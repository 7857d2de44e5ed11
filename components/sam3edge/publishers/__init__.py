"""The transports behind the outbox.

greengrass  GreengrassPublisher: AWS IoT Core through the nucleus
files       FilesPublisher: messages in a folder
fake        FakePublisher: messages in memory, failures as scripted
"""
