"""The API: the endpoint's model for people, behind API keys, in the ways of OpenAI and of OversightML.

    API Gateway -> authorizer -> Application -> route -> Model (SageMaker) -> reply

``handler.py`` and ``authorizer.py`` are the two Lambda functions, ``routes/`` holds one module for each resource,
``asking/`` the model's side, ``large/`` images that are too large for a request, ``local/`` the same functions behind
a small HTTP server. README.md says what clients send and get.
"""
