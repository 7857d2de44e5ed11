"""The two functions behind a small HTTP server that does what API Gateway does.

For tests, and for people without AWS.
"""
