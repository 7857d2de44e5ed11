"""Stages: one validated file a deployment (``infra/stages/<name>.yaml``)."""
