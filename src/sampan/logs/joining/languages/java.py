"""Java and what else runs on the JVM: ``printStackTrace`` (causes, suppressed ones, frames left out), thread dumps, and the
lines of log4j, logback and java.util.logging before a trace.
Source: java.lang.Throwable, and the JVM's own output.
"""

from __future__ import annotations

from sampan.logs.joining.language import BLANK, LETTERS, SPACES, TEXT, Entry, Language, Step, Stretch

NAME = rb"(?:[a-zA-Z_$][\w$]*[./])+[A-Z_$][\w$]*"
THROWABLE = rb"(?:[a-zA-Z_$][\w$]*[./])+[\w$]*?(?:Exception|Error|Throwable|Failure|Fault)\w*"
THROWN = rb"(?:Exception in thread \".*?\" |Exception in |Wrapped by: )?" + THROWABLE
HEADER = THROWN + rb"(?::.*|\s*|; .*)$"
FRAME = (
    rb"\s+at [^\s(]+.*[()]|\s+\.\.\. \d+ (?:more|common frames omitted)|"
    rb"\s+- (?:locked|waiting|parking|eliminated)|\s*---[ >]"
)
FRAME_LINE = rb"[ \t]++(?:at [^\s(]++[^\n(]*+[(]|[.]{3} \d++ (?:more|common frames omitted))"
LOGGED = rb"[A-Z][a-z]{2} \d{1,2}, \d{4},? \d{1,2}:\d\d:\d\d\W[AP]M "
CAUSE_LINE = rb"[ \t]*+(?:Caused by|Suppressed|Wrapped by): "
CAUSE = rb"\s*(?:Caused by|Suppressed|Wrapped by): ?|\s*\[?CIRCULAR REFERENCE"

LANGUAGE = Language(
    "java",
    (
        Entry(HEADER, "header", begins=LETTERS, needs=b"Exception|Error|Throwable|Failure|Fault"),
        Entry(rb"\s+at [a-zA-Z_$][\w$.<>/@-]*\(.*\)", "frames", "always", SPACES),
        Entry(CAUSE + rb".*" + NAME, "cause", "always", b" \tCSW[", b"Caused by|Suppressed:|Wrapped by|CIRCULAR REF"),
        Entry(rb"Full thread dump ", "dump", "never", needs=b"Full thread dump "),
        Entry(LOGGED, "logged", "never", LETTERS, b"[AP]M "),
    ),
    {
        "logged": (Step(rb"(?:SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): ", "level"),),
        "level": (Step(HEADER, "header"), Step(FRAME, "frames")),
        "header": (Step(FRAME, "frames"), Step(CAUSE, "cause"), Step(BLANK, "message"), Step(TEXT, "message")),
        "message": (Step(FRAME, "frames"), Step(CAUSE, "cause"), Step(BLANK, "message"), Step(TEXT, "message")),
        "frames": (Step(FRAME, "frames"), Step(CAUSE, "cause")),
        "cause": (
            Step(FRAME, "frames"),
            Step(CAUSE, "cause"),
            Step(BLANK, "cause_message"),
            Step(TEXT, "cause_message"),
        ),
        "cause_message": (
            Step(FRAME, "frames"),
            Step(CAUSE, "cause"),
            Step(BLANK, "cause_message"),
            Step(TEXT, "cause_message"),
        ),
        "dump": (
            Step(rb'"|\s+\S|Locked ownable|JNI global|Heap|_java_thread_list|Threads class SMR|[}]|0x', "dump"),
            Step(BLANK, "dump_gap"),
        ),
        "dump_gap": (
            Step(rb'"|\s+\S|Locked ownable|JNI global|Heap|_java_thread_list|Threads class SMR|[}]|0x', "dump"),
            Step(BLANK, "dump_gap"),
        ),
    },
    tentative=frozenset({"message", "cause_message", "dump_gap"}),
    stretches=dict.fromkeys(
        ("header", "message", "frames", "cause", "cause_message"),
        Stretch(((FRAME_LINE,), (CAUSE_LINE, FRAME_LINE)), "frames"),
    ),
)
