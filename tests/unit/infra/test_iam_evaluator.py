"""The evaluator of policies that the other tests judge by: as AWS documents it, and no guess where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from support.iam import Policy, policy_of, role_policy

BUCKET = "arn:aws:s3:::yard"


def policy(*statements: dict[str, Any]) -> Policy:
    """Of statements; what they leave out is an allowance of everything."""
    whole = ({"Effect": "Allow"} | one for one in statements)
    filled = [
        one
        | ({} if "NotAction" in one else {"Action": one.get("Action", "*")})
        | ({} if "NotResource" in one else {"Resource": one.get("Resource", "*")})
        for one in whole
    ]
    return policy_of({"Version": "2012-10-17", "Statement": filled})


def condition(operator: str, key: str, *values: Any) -> Policy:
    return policy({"Condition": {operator: {key: list(values)}}})


def test_what_nobody_allows_is_denied_and_a_denial_wins_wherever_it_stands() -> None:
    allow = {"Action": "s3:GetObject", "Resource": f"{BUCKET}/*"}
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": f"{BUCKET}/secret"}
    for both in (policy(allow, deny), policy(deny, allow)):
        assert both.allows("s3:GetObject", f"{BUCKET}/open")
        assert not both.allows("s3:GetObject", f"{BUCKET}/secret")
        assert not both.allows("s3:PutObject", f"{BUCKET}/open")
    assert not policy(deny).allows("s3:GetObject", f"{BUCKET}/open")
    assert not Policy(()).allows("s3:GetObject", f"{BUCKET}/open")


def test_a_denial_under_a_condition_denies_under_it_alone() -> None:
    tls = {"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    judged = policy({}, tls)
    assert judged.allows("s3:GetObject", BUCKET, {"aws:SecureTransport": "true"})
    assert not judged.allows("s3:GetObject", BUCKET, {"aws:SecureTransport": "false"})
    assert judged.allows("s3:GetObject", BUCKET)


def test_actions_know_no_case_and_resources_do() -> None:
    judged = policy({"Action": "s3:Get*", "Resource": f"{BUCKET}/a?/*"})
    assert judged.allows("S3:GETOBJECT", f"{BUCKET}/ab/1")
    assert not judged.allows("s3:GetObject", f"{BUCKET}/AB/1")
    assert not judged.allows("s3:GetObject", f"{BUCKET}/abc/1")
    assert not judged.allows("s3:PutObject", f"{BUCKET}/ab/1")
    assert not judged.allows("s3:GetObject", f"{BUCKET}xab/1")


def test_all_but_some() -> None:
    judged = policy({"NotAction": ["iam:*", "sts:AssumeRole"], "NotResource": f"{BUCKET}/secret/*"})
    assert judged.allows("s3:GetObject", f"{BUCKET}/open")
    assert not judged.allows("iam:PassRole", "*")
    assert not judged.allows("STS:assumerole", "*")
    assert not judged.allows("s3:GetObject", f"{BUCKET}/secret/1")


@pytest.mark.parametrize(
    ("pattern", "arn", "matches"),
    [
        ("*", "arn:aws:sqs:eu-west-1:111122223333:x", True),
        ("arn:aws:sqs:*:111122223333:x", "arn:aws:sqs:eu-west-1:111122223333:x", True),
        ("arn:aws:sqs:*:x", "arn:aws:sqs:eu-west-1:111122223333:x", False),  # no wildcard goes over a colon
        ("arn:aws:sqs:*", "arn:aws:sqs:eu-west-1:111122223333:x", True),  # what is left out is all
        ("arn:aws:logs:*:*:log-group:/a:*", "arn:aws:logs:eu-west-1:1:log-group:/a:log-stream:s", True),
        ("arn:aws:logs:*:*:log-group:*:s", "arn:aws:logs:eu-west-1:1:log-group:/a:log-stream:s", True),
        ("arn:aws:s3:::yard", "arn:aws:s3:::yard/x", False),
        ("arn:aws:s3:::y.rd", "arn:aws:s3:::yard", False),
    ],
)
def test_wildcards_of_arns(pattern: str, arn: str, matches: bool) -> None:
    assert policy({"Resource": pattern}).allows("s3:GetObject", arn) is matches
    assert condition("ArnLike", "aws:SourceArn", pattern).allows("a:B", "*", {"aws:SourceArn": arn}) is matches
    assert condition("ArnEquals", "aws:SourceArn", pattern).allows("a:B", "*", {"aws:SourceArn": arn}) is matches
    assert condition("ArnNotLike", "aws:SourceArn", pattern).allows("a:B", "*", {"aws:SourceArn": arn}) is not matches


def test_a_variable_is_what_the_request_says_and_matches_nothing_where_it_says_nothing() -> None:
    judged = policy({"Resource": "arn:aws:iot:r:1:client/${iot:Connection.Thing.ThingName}#*"})
    thing = {"iot:connection.thing.thingname": "cam-7"}
    assert judged.allows("iot:Connect", "arn:aws:iot:r:1:client/cam-7#2", thing)
    assert not judged.allows("iot:Connect", "arn:aws:iot:r:1:client/cam-8#2", thing)
    assert not judged.allows("iot:Connect", "arn:aws:iot:r:1:client/#2")
    assert not judged.allows("iot:Connect", "arn:aws:iot:r:1:client/${iot:Connection.Thing.ThingName}#2")


def test_the_value_of_a_variable_is_no_pattern() -> None:
    judged = policy({"Resource": f"{BUCKET}/${{who}}/*"})
    assert not judged.allows("s3:GetObject", f"{BUCKET}/other/x", {"who": "*"})
    assert judged.allows("s3:GetObject", f"{BUCKET}/*/x", {"who": "*"})
    like = condition("StringLike", "s3:prefix", "home/${who}/*")
    assert like.allows("s3:ListBucket", BUCKET, {"s3:prefix": "home/ada/x", "who": "ada"})
    assert not like.allows("s3:ListBucket", BUCKET, {"s3:prefix": "home/bob/x", "who": "ada"})


def test_defaults_of_variables_and_stars_that_are_stars() -> None:
    judged = policy({"Resource": f"{BUCKET}/${{who, 'nobody'}}/a${{*}}"})
    assert judged.allows("s3:GetObject", f"{BUCKET}/nobody/a*")
    assert judged.allows("s3:GetObject", f"{BUCKET}/ada/a*", {"who": "ada"})
    assert not judged.allows("s3:GetObject", f"{BUCKET}/nobody/ab")


HOLDS = [
    ("StringEquals", ["a", "b"], "b", True),
    ("StringEquals", ["a"], "A", False),
    ("StringEquals", ["a*"], "ab", False),
    ("StringEquals", ["a*"], "a*", True),
    ("StringEqualsIgnoreCase", ["Ab"], "aB", True),
    ("StringEqualsIgnoreCase", ["Ab"], "aC", False),
    ("StringLike", ["a*c", "x?"], "abbc", True),
    ("StringLike", ["a*c", "x?"], "xyz", False),
    ("StringNotEquals", ["a", "b"], "c", True),
    ("StringNotEquals", ["a", "b"], "b", False),
    ("StringNotEqualsIgnoreCase", ["a"], "A", False),
    ("StringNotLike", ["a*"], "abc", False),
    ("StringNotLike", ["a*"], "bca", True),
    ("NumericEquals", ["10"], "10.0", True),
    ("NumericNotEquals", ["10"], "11", True),
    ("NumericLessThan", ["10"], "9", True),
    ("NumericLessThan", ["10"], "10", False),
    ("NumericLessThanEquals", ["10"], "10", True),
    ("NumericGreaterThan", ["10"], "9", False),
    ("NumericGreaterThanEquals", ["10"], "10", True),
    ("DateLessThan", ["2026-11-28T00:00:00Z"], "2026-11-27T23:59:59Z", True),
    ("DateGreaterThan", ["2026-11-28T00:00:00Z"], "2026-11-27T23:59:59Z", False),
    ("DateEquals", ["1795824000"], "2026-11-28T00:00:00Z", True),
    ("DateNotEquals", ["1795824000"], "2026-11-28T00:00:00Z", False),
    ("Bool", ["true"], "true", True),
    ("Bool", [True], "true", True),
    ("Bool", ["true"], "false", False),
    ("BinaryEquals", ["QmluYXJ5"], "QmluYXJ5", True),
    ("IpAddress", ["203.0.113.0/24", "2001:db8::/32"], "203.0.113.7", True),
    ("IpAddress", ["203.0.113.0/24", "2001:db8::/32"], "2001:db8::1", True),
    ("IpAddress", ["203.0.113.0/24"], "198.51.100.1", False),
    ("NotIpAddress", ["203.0.113.0/24"], "198.51.100.1", True),
    ("NotIpAddress", ["203.0.113.0/24"], "203.0.113.7", False),
]


@pytest.mark.parametrize(("operator", "values", "given", "expected"), HOLDS)
def test_operators(operator: str, values: list[Any], given: str, expected: bool) -> None:
    judged = condition(operator, "key", *values)
    assert judged.allows("a:B", "*", {"KEY": given}) is expected
    lenient = condition(f"{operator}IfExists", "key", *values)
    assert lenient.allows("a:B", "*", {"key": given}) is expected
    assert lenient.allows("a:B", "*")
    # of a key that is missing a negated operator holds, and no other
    assert judged.allows("a:B", "*") is ("Not" in operator)


def test_null_asks_whether_a_key_is_there() -> None:
    there, missing = condition("Null", "key", "false"), condition("Null", "key", True)
    assert there.allows("a:B", "*", {"key": "x"})
    assert not there.allows("a:B", "*")
    assert missing.allows("a:B", "*")
    assert not missing.allows("a:B", "*", {"key": "x"})


@pytest.mark.parametrize(
    ("operator", "given", "expected"),
    [
        ("ForAllValues:StringEquals", ["a"], True),
        ("ForAllValues:StringEquals", ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a", "c"], False),
        ("ForAllValues:StringEquals", "a", True),
        ("ForAllValues:StringEquals", [], True),
        ("ForAllValues:StringEquals", None, True),
        ("ForAnyValue:StringEquals", ["c", "a"], True),
        ("ForAnyValue:StringEquals", ["c"], False),
        ("ForAnyValue:StringEquals", [], False),
        ("ForAnyValue:StringEquals", None, False),
        ("ForAnyValue:StringEqualsIfExists", None, True),
        ("ForAllValues:StringNotEquals", ["c", "d"], True),
        ("ForAllValues:StringNotEquals", ["c", "a"], False),
        ("ForAnyValue:StringNotEquals", ["c", "a"], True),
        ("ForAnyValue:StringNotEquals", ["a", "b"], False),
        ("ForAnyValue:StringNotEquals", None, False),
        ("ForAllValues:StringLike", ["a1", "b"], False),
        ("ForAnyValue:ArnLike", ["a", "x"], True),
    ],
)
def test_keys_with_several_values(operator: str, given: list[str] | str | None, expected: bool) -> None:
    context = {} if given is None else {"keys": given}
    assert condition(operator, "keys", "a", "b").allows("a:B", "*", context) is expected


def test_every_operator_and_every_key_must_hold() -> None:
    judged = policy({"Condition": {"StringEquals": {"one": "1", "two": "2"}, "Bool": {"three": "true"}}})
    whole = {"one": "1", "two": "2", "three": "true"}
    assert judged.allows("a:B", "*", whole)
    for key in whole:
        assert not judged.allows("a:B", "*", whole | {key: "other"})
        assert not judged.allows("a:B", "*", {name: value for name, value in whole.items() if name != key})


@pytest.mark.parametrize(
    "operator",
    ["StringEqual", "Like", "NullIfExists", "ForSomeValues:StringEquals", "ForAllValues:Null", "", "IfExists"],
)
def test_an_operator_that_aws_has_not_is_refused_before_anybody_asks(operator: str) -> None:
    with pytest.raises(ValueError, match="expected an operator of conditions that AWS has"):
        condition(operator, "key", "value")


def test_what_is_not_documented_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="AWS has ForAnyValue for several"):
        condition("StringEquals", "keys", "a").allows("a:B", "*", {"keys": ["a", "b"]})
    with pytest.raises(ValueError, match="what a negated operator makes of none"):
        condition("StringNotEquals", "key", "${who}").allows("a:B", "*", {"key": "a"})
    with pytest.raises(ValueError, match="one value of the variable who"):
        policy({"Resource": "${who}"}).allows("a:B", "x", {"who": ["a", "b"]})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"Statement": []}, "expected the version 2012-10-17"),
        ({"Version": "2008-10-17", "Statement": []}, "expected the version 2012-10-17"),
        (
            {"Version": "2012-10-17", "Statement": [{"Effect": "allow", "Action": "*", "Resource": "*"}]},
            "Allow or Deny",
        ),
        (
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}],
            },
            "Principal",
        ),
    ],
)
def test_what_is_no_identity_policy_is_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        policy_of(document)


def test_a_roles_policies_are_its_own_and_those_attached_to_it() -> None:
    def allowing(action: str) -> dict[str, Any]:
        statement = {"Effect": "Allow", "Action": action, "Resource": {"Fn::GetAtt": ["Thing", "Arn"]}}
        return {"Version": "2012-10-17", "Statement": statement}

    own = {"Policies": [{"PolicyDocument": allowing("a:Own")}]}
    template = {
        "Resources": {
            "JobRole0123ABCD": {"Type": "AWS::IAM::Role", "Properties": own},
            "JobRole": {"Type": "AWS::SQS::Queue", "Properties": {}},
            "Mine": _attached("JobRole0123ABCD", allowing("a:Attached")),
            "Other": _attached("OtherRole", allowing("a:Other")),
        }
    }
    found = role_policy(template, "JobRole")
    assert found.actions() == {"a:Own", "a:Attached"}
    assert found.resources("a:Own") == {"<Thing.Arn>"}
    assert found.allows("a:Own", "<Thing.Arn>")
    assert not found.allows("a:Own", "<Other.Arn>")
    with pytest.raises(ValueError, match="expected one role Job, got"):
        role_policy(template, "Job")


def _attached(role: str, document: dict[str, Any]) -> dict[str, Any]:
    return {"Type": "AWS::IAM::Policy", "Properties": {"Roles": [{"Ref": role}], "PolicyDocument": document}}
