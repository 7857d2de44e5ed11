"""The API: the endpoint's model for people, behind API keys, in the ways of OpenAI and of OversightML.

    API Gateway -> authorizer -> Application -> route -> Model (SageMaker) -> reply

``handler.py`` and ``authorizer.py`` are the two Lambda functions, ``routes/`` holds one module for each resource,
``model.py`` is the model's side, ``uploads/`` images that are too large for a request. README.md says what clients send
and get; ``sam3edge_simulator.api_gateway`` runs the same functions behind a small HTTP server.
"""
