"""Who may open the live page: a custom authorizer of AWS IoT Core, and the secret with the records of its tokens.

See ``sam3edge_serving/live_map/authorizer.py``, which says what a page may do; ``sam3edge_infra.page_tokens`` makes and
revokes tokens.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iot as iot
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from sam3edge_infra.constructs.acknowledged import acknowledge
from sam3edge_infra.constructs.function import FunctionSpec, image_function
from sam3edge_infra.constructs.images import Images
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import Statement, allow
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.stages.delivery import LivePage

AUTHORIZER = "page"
FUNCTION = "page-authorizer"
TOKENS = "page-tokens"
TOKEN_KEY = "token"
"""Name of the token's id in MQTT's user name."""

SECONDS, MEMORY_MB = 5, 1024
"""AWS IoT Core waits five seconds. A function has processor time in proportion to its memory, and needs it to begin."""


class LivePageStack(StageStack):
    """The authorizer of the live page."""

    def __init__(self, scope: Construct, naming: Naming, images: Images, options: LivePage) -> None:
        super().__init__(scope, "page", naming, "sam3edge: who may open the live page")
        tokens = secretsmanager.CfnSecret(
            self, "Tokens", name=naming(TOKENS), description="digests of the live page's tokens: page_tokens keeps them"
        )
        acknowledge(
            tokens,
            {"AwsSolutions-SMG4": "it has digests of random tokens, which expire; what would be rotated is the tokens"},
        )
        spec = FunctionSpec(
            FUNCTION,
            "sam3edge_serving.live_map.authorizer.handler",
            "Live page: whether a token is good, and for what",
            {
                "SAM3EDGE_PAGE_SECRET": tokens.ref,
                "SAM3EDGE_PAGE_THINGS": naming(""),
                "SAM3EDGE_PAGE_COMMANDS": options.commands,
                "SAM3EDGE_PAGE_SESSION_SECONDS": str(60 * options.session_minutes),
            },
            SECONDS,
            MEMORY_MB,
        )
        function = image_function(self, spec, naming, images.image(self, "api"))
        allow(function.role, Statement(["secretsmanager:GetSecretValue"], [tokens.ref]))
        authorizer = iot.CfnAuthorizer(
            self,
            "Authorizer",
            authorizer_name=naming(AUTHORIZER),
            authorizer_function_arn=function.function_arn,
            status="ACTIVE",
            signing_disabled=False,
            token_key_name=TOKEN_KEY,
            token_signing_public_keys={"operator": options.signing_key},
            enable_caching_for_http=False,
        )
        lambda_.CfnPermission(
            self,
            "Permission",
            action="lambda:InvokeFunction",
            function_name=function.function_name,
            principal="iot.amazonaws.com",
            source_account=naming.account,
            source_arn=naming.arn("iot", f"authorizer/{naming(AUTHORIZER)}"),
        )
        cdk.CfnOutput(self, "Name", value=authorizer.ref, description="of the authorizer; page_tokens writes it")
