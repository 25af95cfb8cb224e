"""``sampan lab fault KIND``: something breaks."""

from __future__ import annotations

import argparse

NAMES_ITSELF = True
SUMMARY = "break something: cut, flap, one-way, loss, rate, delay, pause, partition"
LINK = "a link, or `any`: the seed chooses"


def arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")

    def kind(name: str, help: str, thing: str = "link") -> argparse.ArgumentParser:
        made = kinds.add_parser(name, help=help, description=help)
        made.add_argument("--name", help="the laboratory (default: the only one that runs)")
        if thing:
            made.add_argument(thing, help=LINK if thing == "link" else "a node, or `any`: the seed chooses")
            made.add_argument("--seed", type=int, help="chance that can be repeated")
        return made

    kind("cut", "pull a cable: no carrier at either end")
    flap = kind("flap", "pull a cable and plug it in again, several times")
    flap.add_argument("--down", default="200ms", help="how long it is out, about (default: %(default)s)")
    flap.add_argument("--up", default="800ms", help="how long it is in, about (default: %(default)s)")
    flap.add_argument("--times", type=int, default=5, help="how often (default: %(default)s)")
    one_way = kind("one-way", "lose everything that one end sends")
    one_way.add_argument("--from", dest="sender", required=True, metavar="END", help="the end whose frames are lost")
    loss = kind("loss", "lose some frames; with a seed the same ones every time")
    loss.add_argument("amount", metavar="PERCENT")
    rate = kind("rate", "let no more through than so many bits a second")
    rate.add_argument("amount", metavar="RATE", help="10mbit, 512kbit, …")
    delay = kind("delay", "let everything come later (needs a kernel with netem)")
    delay.add_argument("amount", metavar="TIME", help="20ms, 1s, …")
    delay.add_argument("--jitter", default="0ms")
    for parser_of in (loss, rate, delay):
        parser_of.add_argument("--from", dest="sender", default="", metavar="END", help="only what this end sends")
    kind("pause", "a node hangs: it hears and answers nothing", "node")
    partition = kind("partition", "groups of nodes hear nothing of each other", "")
    partition.add_argument("groups", nargs="+", metavar="NODE,NODE…", help="two groups or more")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.lab.choosing import name_of
    from sampan.lab.calls import call

    print(call(name_of(options), message_of(options))[0]["fault"])
    return 0


def message_of(options: argparse.Namespace) -> dict[str, object]:
    """Return what the keeper is asked. Raises ``TopologyError`` for a quantity that is none."""
    from sampan.lab.errors import TopologyError
    from sampan.lab.fields import SECONDS, Fields

    reader = Fields()
    kind: str = options.kind
    given: dict[str, object]
    if kind == "partition":
        given = {"groups": [[name for name in group.split(",") if name] for group in options.groups]}
    elif kind == "pause":
        given = {"node": options.node}
    elif kind == "flap":
        times = {
            name: reader.quantity(getattr(options, name), f"--{name}", SECONDS, "a time such as 200ms")
            for name in ("down", "up")
        }
        given = {"link": options.link, "times": options.times, "seed": options.seed or 0, **times}
    else:
        given = {"link": options.link}
    if kind in ("loss", "rate", "delay"):
        words = {kind: options.amount} | ({"jitter": options.jitter} if kind == "delay" else {})
        impairment = reader.impairment(words, "")
        amounts = {
            "loss": {"percent": impairment.loss_percent, "seed": options.seed},
            "rate": {"bits": impairment.rate_bits},
            "delay": {"seconds": impairment.delay_seconds, "jitter_seconds": impairment.jitter_seconds},
        }
        given |= amounts[kind]
    if kind in ("one-way", "loss", "rate", "delay"):
        given["sender"] = options.sender
    if reader.problems:
        raise TopologyError(reader.problems)
    if kind == "flap":
        return {"ask": "flap", **given}
    return {"ask": "fault", "kind": kind, "given": given, "seed": getattr(options, "seed", None)}
