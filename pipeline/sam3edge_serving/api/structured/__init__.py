"""Answers that follow a client's own JSON Schema (OpenAI's structured outputs)."""
