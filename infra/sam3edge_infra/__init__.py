"""The CDK application: everything of sam3edge that runs in an AWS account, one stack a module."""
