"""``sampan logs agent --config``, ``--check`` and ``sampan logs process``, as processes, on the example's configuration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml

EXAMPLE = Path("examples/logs/agent.yaml")
LINES = """\
{"level":"info","msg":"mail from bob@example.org","usr":"bob"}
level=error msg="customer C-123456 has no card" code=7
plain
""".splitlines()


def sampan(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sampan.cli.main", "logs", *words],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The example, with paths of this test."""
    content = yaml.safe_load(EXAMPLE.read_text())
    content["paths"] = [str(tmp_path / "pods")]
    for output in content["outputs"]:
        output["path"] = str(tmp_path / Path(output["path"]).name)
    path = tmp_path / "agent.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_example_is_right() -> None:
    done = sampan("agent", "--check", "--config", str(EXAMPLE))
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            "paths: /var/log/pods",
            "rules: sections",
            "processing: parse, parse, filter, redact, sample, map, route, route",
            "outputs: archive, problems",
        ],
    )


def test_outputs_get_what_their_routes_say(config: Path, tmp_path: Path) -> None:
    log = tmp_path / "pods" / "shop_web-1_u1" / "main" / "0.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"2026-11-30T10:00:00Z stdout F {line}\n" for line in LINES))
    done = sampan("agent", "--once", "--config", str(config), "--state", str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    records = [orjson.loads(line) for line in (tmp_path / "all.json").read_bytes().splitlines()]
    assert [(record["text"], record.get("severity"), record["attributes"]) for record in records] == [
        ("mail from [redacted:email]", 9, {"deployment.environment.name": "staging", "user.name": "bob"}),
        ("customer [redacted:customer] has no card", 17, {"code": "7", "deployment.environment.name": "staging"}),
        ("plain", None, {"deployment.environment.name": "staging"}),
    ]
    assert (tmp_path / "problems.txt").read_text() == "customer [redacted:customer] has no card\n"


def test_no_secret_goes_out_at_the_limit_of_a_record(tmp_path: Path) -> None:
    """A line of three megabytes that is full of secrets, as a runtime writes it: by the agent and as it is tried."""
    secret = "ghp_" + "a1B2" * 9
    text = f"{secret} " * 70_000
    config, log = tmp_path / "agent.yaml", tmp_path / "0.log"
    config.write_text(
        f"{{paths: [{log}], processing: [{{redact: {{}}}}], outputs: [{{name: o, type: json, path: {tmp_path}/out}}]}}"
    )
    pieces = [text[at : at + 16_384] for at in range(0, len(text), 16_384)]
    entries = [f"2026-11-30T10:00:00Z stdout P {piece}\n" for piece in pieces[:-1]]
    log.write_text("".join([*entries, f"2026-11-30T10:00:00Z stdout F {pieces[-1]}\n"]))
    done = sampan("agent", "--once", "--config", str(config), "--state", str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    tried = sampan("process", "--config", str(config), str(log))
    assert tried.returncode == 0, tried.stderr
    for records in ((tmp_path / "out").read_text(), tried.stdout):
        lines = [orjson.loads(line) for line in records.splitlines()]
        assert [line["part"] for line in lines] == [0, 1, 2]
        assert "".join(line["text"] for line in lines) == "[redacted:github_token] " * 70_000


def test_a_configuration_is_tried_on_lines(config: Path) -> None:
    more = ["--label", "namespace=shop", "--annotation", "logs.sampan.dev/level=error", "--before"]
    done = sampan("process", "--config", str(config), *more, given="".join(f"{line}\n" for line in LINES))
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [line.partition("{")[0] for line in lines] == [
        "< ", "- filtered", f"< {LINES[1]}".partition("{")[0], "> [archive, problems] ", "< plain", "> [archive] ",
    ]  # fmt: skip
    record = orjson.loads(lines[3].partition("] ")[2])
    assert (record["text"], record["namespace"]) == ("customer [redacted:customer] has no card", "shop")
    assert done.stderr.splitlines()[:2] == ["3 records", "1 filtered"]
    assert "processing[3] redact: customer 1, email 1" in done.stderr.splitlines()
    assert "bob@" not in "".join(line for line in lines if line[0] != "<")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"processing": [{"route": "nowhere"}]}, "processing[0].route.outputs: there is no output 'nowhere'"),
        ({"processing": [{"parse": {"fromat": "json"}}]}, "processing[0].parse.fromat: there is no such option"),
        ({"outputs": [{"name": "a", "type": "json", "pat": "/x"}]}, "outputs[0]."),
        ({"rules": [{"name": "r", "multiline": {"start": "("}}]}, "rules[0].multiline.start: "),
        ({"pathz": []}, "pathz: there is no such field"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_begins(
    config: Path, tmp_path: Path, change: dict[str, object], error: str
) -> None:
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **change}))
    done = sampan("agent", "--once", "--config", str(config), "--state", str(tmp_path / "state"))
    assert done.returncode != 0
    assert f"{config}: {error}" in done.stderr
    assert not (tmp_path / "state").exists()
