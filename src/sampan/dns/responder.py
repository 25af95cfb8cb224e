"""A query's bytes to an answer's bytes, as far as what is known goes; pure but for the counts.

The usual query is answered without being parsed: ``quick`` looks its question up as it stands. ``slowly`` does the rest: the
block of its name, rewrites, the steps of a search, hosts, k8s_gateway, the cluster's zone; what others must be asked about
comes back as ``Pending``, to be awaited. Source: RFC 1035, RFC 6604 (codes of chains), RFC 8482 (ANY).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from functools import partial

from sampan.dns import asked, wire
from sampan.dns import rewrite as rewriting
from sampan.dns.asked import World
from sampan.dns.asking import Asked, Outside, Pending, Way, of_others, refusal, turned, wanted_data
from sampan.dns.corefile.configuration import Configuration
from sampan.dns.entries import Ip
from sampan.dns.forwarding.cache import Entry
from sampan.dns.forwarding.forwarder import Forwarder
from sampan.dns.metrics import Metrics
from sampan.dns.rewrite import Rewritten
from sampan.dns.search import candidates, search_list
from sampan.dns.wire import Query, WireError
from sampan.dns.zone import Found, Zone

ONE_QUESTION = b"\x00\x01\x00\x00\x00\x00\x00\x00"
"""Counts of a query without EDNS: one question and no more."""
ONE_QUESTION_AND_OPT = b"\x00\x01\x00\x00\x00\x00\x00\x01"
ALIASES_AT_MOST = 8
REMEMBERED_AT_MOST = 1 << 16
MOST_TCP = 65535


class Responder:
    def __init__(
        self,
        zone: Zone,
        world: World,
        configuration: Configuration,
        ways: list[Way],
        metrics: Metrics,
        *,
        host_searches: tuple[str, ...] = (),
        now: Callable[[], float] | None = None,
    ) -> None:
        self.zone = zone
        self.world = world
        self.configuration = configuration
        self.ways = ways
        self.metrics = metrics
        self.host_searches = host_searches
        self._now = now or asyncio.get_running_loop().time
        self._way_of = {id(way.block): way for way in ways}
        self._answers = zone.answers
        self._plain = configuration.is_plain
        self._untouched: set[bytes] = set()
        """Questions that no rule and no other block changes, where there are some."""
        self._hits = metrics.hits

    def quick(self, data: bytes) -> bytes | None:
        """Return the answer to a query by UDP whose question, as it stands, has a compiled one; None for all others."""
        question = data[12:]
        found = self._answers.get(question)
        if found is None or data[4:12] != ONE_QUESTION or data[2] & 0xFE or not self._plain:
            return self._nearly(data)
        head, body, turns, size = found
        if len(data) + len(body) > wire.UDP_SIZE:
            return None
        if turns > 1:
            start, end = data[1] % turns * size, turns * size
            body = body[start:end] + body[:start] + body[end:]
        if not data[2]:
            head = b"\x84" + head[1:]
        answer = b"".join((data[:2], head, question, body))
        hit = question[-4:-2], len(data), len(answer)
        hits = self._hits
        hits[hit] = hits.get(hit, 0) + 1
        return answer

    def _nearly(self, data: bytes) -> bytes | None:
        """The same for capitals, and for an OPT record without options."""
        if len(data) < 17 or data[2] & 0xFE:
            return None
        counts, opt, most = data[4:12], b"", wire.UDP_SIZE
        if counts == ONE_QUESTION:
            question = data[12:]
        elif counts == ONE_QUESTION_AND_OPT and data[-11:-8] == b"\0\0\x29" and data[-2:] == b"\0\0" and not data[-5]:
            question = data[12:-11]
            opt = OPT_DNSSEC if data[-4] & 0x80 else OPT
            most = min(max(data[-8] << 8 | data[-7], most), wire.LONGEST_UDP_SIZE)
        else:
            return None
        key = question[:-4].lower() + question[-4:]
        if not self._plain and key not in self._untouched:
            return None
        found = self._answers.get(key)
        if found is None:
            return None
        head, body, turns, size = found
        if 12 + len(question) + len(body) + len(opt) > most:
            return None
        if turns > 1:
            start, end = data[1] % turns * size, turns * size
            body = body[start:end] + body[:start] + body[end:]
        if not data[2]:
            head = b"\x84" + head[1:]
        if opt:
            head = head[:8] + ((head[8] << 8 | head[9]) + 1).to_bytes(2)
        answer = b"".join((data[:2], head, question, body, opt))
        hit = key[-4:-2], len(data), len(answer)
        self._hits[hit] = self._hits.get(hit, 0) + 1
        return answer

    def answer(self, data: bytes, source: Ip, *, udp: bool = True) -> bytes | Pending | None:
        """Return the answer; None for what deserves none (an answer, less than a header)."""
        return (self.quick(data) if udp else None) or self.slowly(data, source, udp=udp)

    def slowly(self, data: bytes, source: Ip, *, udp: bool = True) -> bytes | Pending | None:
        try:
            query = wire.parse_query(data)
        except WireError:
            if len(data) < wire.HEADER_SIZE or data[2] & 0x80:
                return None
            self.metrics.dropped(wire.FORMAT_ERROR, len(data), udp=udp)
            return wire.failure(data, wire.FORMAT_ERROR)
        code = refusal(query)
        way = None if code else self.way_of(query.name)
        if way is None:
            code = code or wire.REFUSED
            self.metrics.dropped(code & 0xF, len(data), udp=udp)
            return wire.message(query, code, [], [], [])
        block, rewritten = way.block, Rewritten(query.name, query.type, ())
        if block.rewrites:
            rewritten = rewriting.rewrite(block.rewrites, query.name, query.type)
        most = min(query.udp_size, block.udp_size or query.udp_size) if udp else MOST_TCP
        names = self.steps(way, rewritten.name, source)
        asking = Asked(query, rewritten, way, names, most, source, self._now(), udp, len(data))
        if block.loop and way.forwarder is not None and way.forwarder.came_back(query.name):
            return self.finish(asking, 0, Found(wire.SERVER_FAILURE, [], [], [], False, "loop"))
        return self.walk(asking, 0, None, ())

    def way_of(self, name: bytes) -> Way | None:
        block = self.configuration.block_of(name)
        return None if block is None else self._way_of[id(block)]

    def steps(self, way: Way, name: bytes, source: Ip) -> list[bytes]:
        """Return the names to look for one after the other, as the client would."""
        pod = self.world.pod_at(source) if way.block.autopath else None
        if pod is None:
            return [name]
        searches = search_list(pod, self.zone.domain, self.host_searches)
        return candidates(name, searches, lambda label: self.world.service(f"{pod.namespace}/{label}") is not None)

    def walk(
        self, asking: Asked, step: int, found: Found | Outside | None, refused: tuple[Found, ...]
    ) -> bytes | Pending:
        """Go on with a search from a step, of which ``found`` may be known already."""
        query, kind = asking.query, asking.rewritten.kind
        while True:
            if found is None:
                # a step of a search may fall under another block
                way = self.way_of(asking.names[step]) if step else asking.way
                found = self.look(way or asking.way, asking.names[step], kind)
            if isinstance(found, Outside):
                forwarder = found.way.forwarder
                if forwarder is None:
                    found = Found(wire.REFUSED, list(found.aliases), [], [], False, "")
                else:
                    entry = forwarder.kept(found.name, kind, query.dnssec_ok)
                    if entry is None:
                        return Pending(self, asking, step, found, refused)
                    if found.name == query.name and not found.aliases and kind == query.type and not step:
                        whole = self._given(asking, forwarder, entry)
                        if whole is not None:
                            return whole
                    found = of_others(found, entry.answered, partial(forwarder.records, entry), "cache")
            if found.code != wire.NAME_ERROR or found.answers:
                return self.finish(asking, step, found)
            refused = (*refused, found)
            step, found = step + 1, None
            if step == len(asking.names):
                return self.finish(asking, 0, refused[0])

    def look(self, way: Way, name: bytes, kind: int) -> Found | Outside:
        """Return what is known of a name without asking others."""
        if way.hosts is not None:
            found = way.hosts.look(name, kind, self._now())
            if found is not None:
                return found
        if way.gateway is not None:
            found = way.gateway.look(name, kind)
            if found is not None:
                return found
        return self._in_zone(way, name, kind) if way.block.kubernetes is not None else Outside(way, name)

    def _in_zone(self, way: Way, name: bytes, kind: int) -> Found | Outside:
        zone = self.zone
        found = zone.compiled(name, kind)
        if found is not None:
            return found
        if name in zone.aliases:
            return self._alias(way, name, kind)
        if zone.contains(name) or zone.reverses(name):
            found = asked.look(zone, self.world, name, kind)
            if found is not None:
                return found
            if zone.exists(name):
                return zone.denial(exists=True)
            if not zone.falls_through(name):
                return zone.denial(exists=False)
        return Outside(way, name)

    def _alias(self, way: Way, name: bytes, kind: int) -> Found | Outside:
        """Follow ExternalName Services, through the zone and out of it: stub resolvers do not do it themselves."""
        records: list[bytes] = []
        aliases, ttl = self.zone.aliases, self.zone.options.ttl
        while name in aliases and len(records) < ALIASES_AT_MOST:
            records.append(wire.record(name, wire.CNAME, ttl, aliases[name]))
            name = aliases[name].lower()
            if kind in (wire.CNAME, wire.ANY):
                return Found(wire.NO_ERROR, records, [], [])
        if name in aliases:
            return Found(wire.SERVER_FAILURE, records, [], [])  # they lead in a circle
        target_way = self.way_of(name)
        if target_way is None:
            return Found(wire.NO_ERROR, records, [], [])
        found = self.look(target_way, name, kind)
        if isinstance(found, Outside):
            return found._replace(aliases=(*records, *found.aliases))
        return found._replace(answers=[*records, *found.answers], authoritative=True)

    def _given(self, asking: Asked, forwarder: Forwarder, entry: Entry) -> bytes | None:
        """Return a kept answer to the very question it answered, None where it is too long."""
        query, answered = asking.query, entry.answered
        opt = wire.opt_record(0, query.dnssec_ok) if query.edns_version >= 0 else b""
        flags = wire.QR | wire.RECURSION_AVAILABLE | query.flags & wire.RECURSION_DESIRED | answered.code
        flags |= answered.flags & wanted_data(query)
        counts = answered.counts
        head = struct.pack("!HHHHHH", query.identity, flags, 1, counts[0], counts[1], counts[2] + bool(opt))
        made = b"".join((head, query.question, forwarder.tail(entry), opt))
        turns = counts[0] > 1 and asking.way.block.loadbalance
        if len(made) > asking.most or turns or asking.way.block.log or asking.rewritten.rules:
            return None
        self.metrics.answered(
            query.type, asking.size, len(made), answered.code, "cache", asking.udp, self._now() - asking.began
        )
        return made

    def finish(self, asking: Asked, step: int, found: Found) -> bytes:
        """Return the answer as bytes: with the way that the search went, as the rules make it, as long as it may be."""
        query, block = asking.query, asking.way.block
        if step:
            way = wire.record(asking.names[0], wire.CNAME, self.zone.options.ttl, asking.names[step])
            found = found._replace(answers=[way, *found.answers])
            self.metrics.searched += 1
        if asking.rewritten.name != query.name or asking.rewritten.rules:
            found = rewriting.answer(asking.rewritten, query.name, found)
        flags = (
            found.code
            | (wire.AUTHORITATIVE if found.authoritative else 0)
            | (wanted_data(query) if found.authentic else 0)
        )
        answers = found.answers
        if block.loadbalance and len(answers) > 1:
            answers = turned(answers, query.identity)
        made = wire.fitting(query, flags, answers, found.authorities, found.additional, asking.most)
        seconds = self._now() - asking.began
        self.metrics.answered(query.type, asking.size, len(made), found.code, found.by, asking.udp, seconds)
        if block.log:
            self.metrics.log(query, asking.source, asking.udp, asking.size, found.code, len(made), seconds)
        elif not self._plain and not asking.rewritten.rules and not step and not block.udp_size:
            self._remember(asking.way, query)
        return made

    def _remember(self, way: Way, query: Query) -> None:
        """Note that a question's compiled answer is all there is to it."""
        if any(
            wire.is_below(query.name, zone) for part in (way.hosts, way.gateway) if part for zone in part.settings.zones
        ):
            return
        if way.block.kubernetes is not None:
            if len(self._untouched) >= REMEMBERED_AT_MOST:
                self._untouched.clear()
            self._untouched.add(query.name + struct.pack("!HH", query.type, wire.IN))


OPT, OPT_DNSSEC = wire.opt_record(), wire.opt_record(0, True)
