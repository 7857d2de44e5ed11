"""What is wrong in a stage, as we say it: what was expected, and what came."""

from __future__ import annotations

from sam3edge.validation import Complaint

EXPECTED = {
    "missing": "expected a value; got none",
    "extra_forbidden": "expected nothing of this name; stages/stage.py has what there is",
    "string_type": "expected text, in quotes where YAML reads something else; got {got}",
    "union_tag_invalid": "expected {discriminator} to be one of {expected_tags}; got {tag!r}",
    "union_tag_not_found": "expected {discriminator}, which says what it is; got none",
    "literal_error": "expected {expected}; got {got}",
    "greater_than": "expected more than {gt}; got {got}",
    "greater_than_equal": "expected {ge} or more; got {got}",
    "less_than": "expected less than {lt}; got {got}",
    "less_than_equal": "expected {le} or less; got {got}",
    "int_type": "expected a whole number; got {got}",
    "int_parsing": "expected a whole number; got {got}",
    "int_from_float": "expected a whole number; got {got}",
    "float_type": "expected a number; got {got}",
    "float_parsing": "expected a number; got {got}",
    "finite_number": "expected a finite number; got {got}",
    "bool_type": "expected true or false; got {got}",
    "bool_parsing": "expected true or false; got {got}",
    "string_too_short": "expected {min_length} or more characters; got {got}",
    "too_short": "expected {min_length} or more; got {actual_length}",
    "too_long": "expected {max_length} or less; got {actual_length}",
    "tuple_type": "expected a list; got {got}",
    "model_type": "expected a section, names with values; got {got}",
    "model_attributes_type": "expected a section, names with values; got {got}",
    "value_error": "{error}",
}
"""By pydantic's type of the error: all that stages can cause, which a test goes through."""


def wording(complaint: Complaint) -> str:
    """What was expected, and what came; of what is secret ``values.py`` shows nothing."""
    got = "nothing" if complaint.got is None else repr(complaint.got)
    return EXPECTED[complaint.kind].format(got=got, **complaint.limits)
