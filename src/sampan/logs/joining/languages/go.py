"""Go: panics and fatal errors with the stacks of all goroutines, and the race detector's reports.
Source: runtime/traceback.go, ThreadSanitizer's report in Go's form, and the programs' own output.
"""

from __future__ import annotations

from sampan.logs.joining.language import BLANK, INDENTED, TEXT, Entry, Language, Step, Stretch

RULER = rb"={18}\s*$"
GOROUTINE = rb"(?:goroutine \d+\b.*\[.*\]:|runtime stack:|goroutine running on other thread)"
CALL = (
    rb"[\w./@*()\[\]{}$\-,%~\x80-\xff ]+\(.*\)(?:\s*$| in goroutine)|created by |\t\S|"
    rb"\.\.\.(?:additional|\d+) .*frames|panic\(|" + INDENTED
)
CALLS = rb"\t\S|[\w./*]++\([^\n]*\)(?=\n)"
REGISTERS = rb"[a-z]\w{1,5}\s+0x[0-9a-f]+"

LANGUAGE = Language(
    "go",
    (
        Entry(
            rb"(?:panic|fatal error|unexpected fault address|runtime): ",
            "panic",
            begins=b"pfur",
            needs=b"panic: |fatal error: |fault address: |runtime: ",
        ),
        Entry(rb"SIG[A-Z]+: ", "panic", needs=b"SIG[A-Z]"),
        Entry(rb"http2?: panic serving ", "panic", needs=b"panic serving "),
        Entry(GOROUTINE, "stack", begins=b"gr", needs=b"goroutine |runtime stack:"),
        Entry(RULER, "ruler", "never", b"="),
        Entry(rb"WARNING: DATA RACE", "race", "never", needs=b"DATA RACE"),
    ),
    {
        "panic": (
            Step(GOROUTINE, "stack"),
            Step(
                rb"\s*panic: |\s*\[(?:signal|recovered)|\[originating from|PC=|fatal error: |runtime: |\s+\S", "panic"
            ),
            Step(BLANK, "panic_gap"),
            Step(TEXT, "panic_text"),
        ),
        "panic_text": (
            Step(GOROUTINE, "stack"),
            Step(rb"\[signal", "panic"),
            Step(BLANK, "panic_gap"),
            Step(TEXT, "panic_text"),
        ),
        "panic_gap": (Step(GOROUTINE, "stack"), Step(rb"\[signal", "panic"), Step(BLANK, "panic_gap")),
        "stack": (Step(GOROUTINE, "stack"), Step(CALL, "stack"), Step(BLANK, "stack_gap")),
        "stack_gap": (Step(GOROUTINE, "stack"), Step(REGISTERS, "registers"), Step(BLANK, "stack_gap")),
        "registers": (Step(REGISTERS, "registers"), Step(GOROUTINE, "stack")),
        "ruler": (Step(rb"WARNING: (?:DATA RACE|ThreadSanitizer)", "race"),),
        "race": (Step(RULER, "end"), Step(BLANK, "race"), Step(TEXT, "race")),
    },
    tentative=frozenset({"ruler", "panic_gap", "panic_text", "stack_gap"}),
    last=frozenset({"end"}),
    stretches={"stack": Stretch(((CALLS,),), "stack")},
)
