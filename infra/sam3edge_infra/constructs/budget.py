"""A budget of the account, whose notifications go where alarms go."""

from __future__ import annotations

from aws_cdk import aws_budgets as budgets
from constructs import Construct

from sam3edge_infra.constructs.alarms import AlarmTopic

NOTIFIED = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))
"""What is compared, and percent of the budget from which on somebody is told."""


def monthly_budget(scope: Construct, usd: int, topic: AlarmTopic) -> None:
    """Tell the topic when the account's bill of a month comes near an amount, or will exceed it.

    It is of the whole account: AWS can tell stages apart by their tags only after somebody has activated those in the
    billing console, and until then would find that a stage costs nothing.
    """
    budget = budgets.CfnBudget
    subscriber = budget.SubscriberProperty(subscription_type="SNS", address=topic.topic.topic_arn)
    # without a name of its own: a change of notifications replaces it, and a name could not be given twice
    made = budget(
        scope,
        "Budget",
        budget=budget.BudgetDataProperty(
            budget_type="COST",
            time_unit="MONTHLY",
            budget_limit=budget.SpendProperty(amount=usd, unit="USD"),
        ),
        notifications_with_subscribers=[
            budget.NotificationWithSubscribersProperty(
                notification=budget.NotificationProperty(
                    notification_type=kind,
                    comparison_operator="GREATER_THAN",
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=[subscriber],
            )
            for kind, percent in NOTIFIED
        ],
    )
    made.node.add_dependency(topic.topic)  # its policy, too: AWS tries whether it may publish
