"""AWS WAF in front of the API: AWS' managed rules, and a limit on the requests of one address.

What it blocks, and what a rule would have blocked that only counts, is in its log, without the headers that have keys.
"""

from __future__ import annotations

from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_logs as logs
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from sam3edge_infra.constructs.log import log_group
from sam3edge_infra.constructs.names import Naming
from sam3edge_serving.api.keys import BEARER_HEADER, KEY_HEADER

REQUESTS = 2000
"""Of one address in five minutes."""

LOG_PREFIX = "aws-waf-logs-"
"""WAF writes to no log group of another name."""

_MANAGED = {
    # images are larger than the 8 KB that this rule allows a body; API Gateway has a limit of its own
    "AWSManagedRulesCommonRuleSet": ("SizeRestrictions_BODY",),
    "AWSManagedRulesKnownBadInputsRuleSet": (),
    "AWSManagedRulesAmazonIpReputationList": (),
}
"""Rule groups, and the rules in them that only count."""


def firewall(scope: Construct, naming: Naming, stage_arn: str, stage: apigateway.Stage) -> None:
    """Protect a stage of API Gateway."""
    acl = waf.CfnWebACL
    rules = [
        acl.RuleProperty(
            name="requests-of-one-address",
            priority=0,
            action=acl.RuleActionProperty(block={}),
            statement=acl.StatementProperty(
                rate_based_statement=acl.RateBasedStatementProperty(limit=REQUESTS, aggregate_key_type="IP")
            ),
            visibility_config=_visible("requests-of-one-address"),
        )
    ]
    for number, (group, counted) in enumerate(_MANAGED.items(), start=1):
        overrides = [
            acl.RuleActionOverrideProperty(name=rule, action_to_use=acl.RuleActionProperty(count={}))
            for rule in counted
        ]
        rules.append(
            acl.RuleProperty(
                name=group,
                priority=number,
                override_action=acl.OverrideActionProperty(none={}),
                statement=acl.StatementProperty(
                    managed_rule_group_statement=acl.ManagedRuleGroupStatementProperty(
                        vendor_name="AWS", name=group, rule_action_overrides=overrides or None
                    )
                ),
                visibility_config=_visible(group),
            )
        )
    made = acl(
        scope,
        "Firewall",
        name=naming("api"),
        scope="REGIONAL",
        default_action=acl.DefaultActionProperty(allow={}),
        rules=rules,
        visibility_config=_visible(naming("api")),
    )
    _logged(scope, naming, made)
    association = waf.CfnWebACLAssociation(scope, "Protected", resource_arn=stage_arn, web_acl_arn=made.attr_arn)
    association.node.add_dependency(stage)


def _logged(scope: Construct, naming: Naming, acl: waf.CfnWebACL) -> None:
    """Requests that a rule was about: which rule, and what of the request it looked at."""
    name = f"{LOG_PREFIX}{naming('api')}"
    log = log_group(scope, "FirewallLog", name, logs.RetentionDays.ONE_MONTH)
    kept = [{"ActionCondition": {"Action": action}} for action in ("BLOCK", "COUNT", "EXCLUDED_AS_COUNT")]
    logging = waf.CfnLoggingConfiguration(
        scope,
        "FirewallLogging",
        resource_arn=acl.attr_arn,
        log_destination_configs=[naming.arn("logs", f"log-group:{name}")],
        redacted_fields=[
            waf.CfnLoggingConfiguration.FieldToMatchProperty(single_header={"Name": header})
            for header in (BEARER_HEADER, KEY_HEADER)
        ],
        logging_filter={
            "DefaultBehavior": "DROP",
            "Filters": [{"Behavior": "KEEP", "Requirement": "MEETS_ANY", "Conditions": kept}],
        },
    )
    logging.node.add_dependency(log)


def _visible(name: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    return waf.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )
