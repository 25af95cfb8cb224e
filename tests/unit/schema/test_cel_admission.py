"""Match conditions and the variables of admission."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.schema.cel import types
from sampan.schema.cel.admission import MatchConditions, activation, admission_environment, compiled
from sampan.schema.cel.libraries.authorizers import Authorizer, Question, resource_check
from sampan.schema.cel.parser import MAX_RECOVERIES, STARTS

REQUEST = {
    "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
    "operation": "CREATE",
    "name": "web",
    "namespace": "shop",
    "userInfo": {"username": "jane", "groups": ["system:authenticated"]},
    "dryRun": False,
}


def variables(**given: Any) -> dict[str, Any]:
    asked: list[Question] = given.pop("asked", [])

    def decide(question: Question) -> tuple[bool, str]:
        asked.append(question)
        return question.verb == "get", "because"

    known = {"object": {"spec": {"replicas": 3}}, "old": None, "request": REQUEST, "authorizer": Authorizer(decide)}
    known["request_resource"] = resource_check(decide, Question("", group="apps", resource="deployments", name="web"))
    return activation(**{**known, **given})


def match(*expressions: str, **given: Any) -> tuple[bool, str, str]:
    conditions = [{"name": f"c{index}", "expression": text} for index, text in enumerate(expressions)]
    return tuple(MatchConditions(conditions, "1.37").match(variables(**given)))  # type: ignore[return-value]


def test_all_must_hold() -> None:
    assert match("object.spec.replicas > 1", "request.operation == 'CREATE'") == (True, "", "")
    assert match("object.spec.replicas > 1", "request.userInfo.username == 'joe'") == (False, "c1", "")


def test_a_false_condition_decides_though_another_fails() -> None:
    assert match("object.spec.nope == 1", "false") == (False, "c1", "")
    error = "expression 'object.spec.nope == 1' resulted in error: no such key: nope"
    assert match("object.spec.nope == 1", "true") == (False, "", error)


def test_a_created_object_has_no_old_one() -> None:
    assert match("oldObject == null")[0] is True
    assert match("oldObject != null && oldObject.spec.replicas == 1", old={"spec": {"replicas": 1}})[0] is True


def test_the_authorizer_is_asked() -> None:
    asked: list[Question] = []
    text = "authorizer.group('apps').resource('deployments').subresource('scale').namespace('x').name('y')"
    text += ".check('get').allowed()"
    assert match(text, asked=asked)[0] is True
    assert asked == [Question("get", "", "apps", "deployments", "scale", "x", "y")]
    assert match("authorizer.requestResource.check('delete').allowed()", asked=asked)[0] is False
    assert asked[1] == Question("delete", group="apps", resource="deployments", name="web")
    assert match("authorizer.serviceAccount('ns', 'sa').path('/healthz').check('get').reason() == 'because'")[0] is True
    assert match("authorizer.serviceAccount('NS', 'sa').path('/x').check('get').allowed()")[2].endswith(
        "resulted in error: Invalid service account namespace"
    )


def test_checks_of_the_authorizer_are_dear() -> None:
    check = "authorizer.path('/a').check('get').allowed()"
    assert match(" && ".join([check] * 3))[2].endswith("operation cancelled: actual cost limit exceeded")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1", "must evaluate to bool but got int"),
        ("object.", "8: Syntax error: no viable alternative at input '.'\n | object.\n | .......^"),
        ("request.nope == 1", "8: undefined field 'nope'\n | request.nope == 1\n | .......^"),
        ("variables.x", "1: undeclared reference to 'variables' (in container '')\n | variables.x\n | ^"),
    ],
)  # fmt: skip
def test_what_does_not_compile(expression: str, message: str) -> None:
    conditions = MatchConditions([{"name": "a", "expression": expression}], "1.37", stored=False)
    (cause,) = conditions.causes("webhooks[0].matchConditions")
    assert cause.field == "webhooks[0].matchConditions[0].expression"
    assert cause.message.endswith(message)
    error = conditions.match(variables()).error
    assert error.startswith("compilation error: ") and error.endswith(message)


@pytest.mark.parametrize(
    ("expression", "messages"),
    [
        ("1 2", ["1:3: Syntax error: extraneous input '2' expecting <EOF>"]),
        ("1 2 3", ["1:3: Syntax error: mismatched input '2' expecting <EOF>"]),
        ("* 2", ["1:1: Syntax error: extraneous input '*' expecting {STARTS}"]),
        ("* - 2 -", ["1:1: Syntax error: extraneous input '*' expecting {STARTS}",
                     "1:8: Syntax error: mismatched input '<EOF>' expecting {STARTS}"]),
        ("* *", ["1:1: Syntax error: mismatched input '*' expecting {STARTS}",
                 "1:3: Syntax error: mismatched input '*' expecting {STARTS}",
                 "1:4: Syntax error: mismatched input '<EOF>' expecting {STARTS}"]),
    ],
)  # fmt: skip
def test_what_is_missing_does_not_hide_what_follows(expression: str, messages: list[str]) -> None:
    error = compiled(expression, admission_environment("1.37"), (types.BOOL,)).error
    told = [line.partition("<input>:")[2] for line in error.split("\n") if "<input>" in line]
    assert told == [message.format(STARTS=f"{{{STARTS}}}") for message in messages]


def test_going_on_after_an_operand_that_is_missing_has_an_end() -> None:
    error = compiled("* " * 5000, admission_environment("1.37"), (types.BOOL,)).error
    assert error.count("Syntax error") == MAX_RECOVERIES + 1
