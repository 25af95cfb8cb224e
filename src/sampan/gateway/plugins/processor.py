"""Processors: plugins outside of Envoy that see headers, bodies and trailers of both directions, as they stream.

A processor is an object with some of these methods, each sync or async; Envoy sends what there is a method for:

    request_headers(exchange)            may change exchange.request.headers, or return exchange.respond(...)
    request_body(exchange, chunks)       an async generator: takes bytes from ``chunks``, yields bytes
    request_trailers(exchange, trailers) may change them
    response_headers(exchange), response_body(exchange, chunks), response_trailers(exchange, trailers)
    request_content(exchange, content)   the whole body of what it wants (``contents.py``), before anything is passed on:
                                         returns other bytes, nothing, or exchange.respond(...)
    response_content(exchange, content)

``Processing`` follows one exchange. What goes wrong in a method ends here: what can pass as it came does where the owner
chose so, else the client gets 500, or the end of an answer that has begun. Source: Envoy's external processing API v3.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import aclosing
from typing import Any

from sampan.gateway.plugins.contents import PARTS as CONTENTS
from sampan.gateway.plugins.contents import Contents, made_of
from sampan.gateway.plugins.conversation import Conversation, Pairs, Part, Side, Stream, joined
from sampan.gateway.plugins.counters import Counters, Measured
from sampan.gateway.plugins.exchange import Chunks, Exchange, Response, check_answer, phases_of, request_of, text_of
from sampan.gateway.plugins.request import FORBIDDEN, Answer, Headers, Request, check_status
from sampan.gateway.plugins.whole import Whole

TRAILERS = "trailers of a request cannot pass a plugin that sees its body\n"
OF_BODIES = frozenset({":status", "content-type", "content-length", "content-encoding", "transfer-encoding"})


class Failed(Exception):
    """The exchange has been ended in the plugin's stead."""


class Processing:
    """The processor of a plugin, for all its exchanges."""

    def __init__(self, processor: Any, deployment: dict[str, Any], counters: Counters) -> None:
        self.processor, self.counters = processor, counters
        self.phases = phases_of(processor, deployment.get("content_types", ()))
        self.contents = Contents(deployment)
        self.streams = any(name.endswith("_body") or name in CONTENTS for name in self.phases)
        """Whether both directions go on at a time; else one part comes after the other."""
        self.settings = deployment["settings"]
        self.seconds: float = deployment["timeout_seconds"]
        self.opens: bool = deployment["fails_open"]
        self.reroutes: bool = deployment.get("reroutes", False)

    def holds_upgrade(self, request: Request) -> bool:
        """Whether Envoy would hold a request: it sends an upgrade's headers on with its first data, which never comes."""
        return "upgrade" in request.headers and any(name.endswith("_body") for name in self.phases)

    async def serve(self, stream: Stream) -> None:
        """Follow one exchange to its end."""
        with self.counters.request() as measured:
            measured.seconds = 0.0
            conversation = Conversation(stream)
            one = One(self, conversation, measured)
            if self.streams:
                await conversation.run(one.run)
            else:
                await one.follow_in_order()


class One:
    """An exchange in the making."""

    def __init__(self, processing: Processing, conversation: Conversation, measured: Measured) -> None:
        self._all, self._talk, self._measured = processing, conversation, measured
        self.exchange = Exchange(processing.settings)
        self._passes = False
        """Whether the plugin has failed, or is not asked, and the rest goes by as it is."""

    async def run(self) -> None:
        """Follow both directions until the answer has ended; the request's may still be on its way then."""
        tasks = [asyncio.ensure_future(self._follow(side)) for side in self._talk.sides.values()]
        try:
            waiting = set(tasks)
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if True in [task.result() for task in done]:
                    return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def follow_in_order(self) -> None:
        """Follow an exchange of which bodies are not seen: nothing comes before what came last is answered."""
        async for name, part in self._talk.parts():
            side = self._talk.sides[name]
            try:
                if part.name == "headers":
                    await self._headers(side, part)
                elif part.name == "trailers":
                    await self._trailers(side, part)
                else:  # of another version's methods
                    await self._talk.body(name, part.data, is_last=part.is_last)
            except Failed:
                return

    async def _follow(self, side: Side) -> bool:
        """Follow one direction; return whether the exchange is over."""
        try:
            headers = await side.get()
            whole = await self._headers(side, headers)
            if not headers.is_last:
                await self._rest(side, whole)
        except Failed:
            return True
        return side.name == "response"

    async def _rest(self, side: Side, whole: Whole | None) -> None:
        if whole is not None:
            end = await whole.pass_on(self._talk)
        else:  # what comes may be what another version has methods for
            end = await self._body(side) if (await side.peek()).name == "body" else await side.get()
        if end.name == "trailers":
            if self._would_double(side, end):
                await self._answer(Answer(501, TRAILERS, {}))
            await self._trailers(side, end)

    def _would_double(self, side: Side, end: Part) -> bool:
        """Whether Envoy would send a body twice: it goes on with a request's trailers by sending once more what it keeps for
        another try (https://github.com/envoyproxy/envoy/issues/45470)."""
        return side.name == "request" and end.name == "trailers" and side.name in self._talk.streamed

    async def _call(self, name: str, *arguments: Any) -> Any:
        """Return what a method says. Raises what it raises, ``TimeoutError``."""
        method = getattr(self._all.processor, name, None)
        if method is None or self._passes:
            return None
        begun = asyncio.get_running_loop().time()
        try:
            found = method(self.exchange, *arguments)
            if not inspect.isawaitable(found):
                return found
            async with asyncio.timeout(self._all.seconds):
                return await found
        finally:
            self._took(begun)

    def _took(self, begun: float) -> None:
        self._measured.seconds = (self._measured.seconds or 0.0) + asyncio.get_running_loop().time() - begun

    async def _headers(self, side: Side, part: Part) -> Whole | None:
        """Answer to a side's headers; return the body, where it was held back until then. Raises ``Failed``."""
        before, whole = part.pairs, None
        try:
            headers = self._taken(side.name, before)
            whole = self._held(side, part, headers)
            answer = await self._call(f"{side.name}_headers")
            if answer is None and side.name == "request" and self._all.holds_upgrade(self.exchange.request):
                answer = self.exchange.respond(501, "WebSockets cannot pass a processor that sees bodies\n")
            check_answer(answer)
            if answer is None and whole is not None and not self._passes:
                answer = await self._content(side, whole)
            after = self._changed(side.name, part) if not self._passes else before
        except Exception as error:
            await self._failed(error)
            answer, after = None, before
            if whole is not None:
                whole.made = None
        if answer is not None:
            self._measured.answered = True
            await self._answer(answer)
        if whole is not None and not self._passes:
            after = whole.lengthened(after)
        if not self._passes and self._is_refused_upgrade(side, part):
            status, others = int(dict(after)[":status"]), [pair for pair in after if pair[0] not in OF_BODIES]
            await self._talk.answer(status, joined(others), b"")
            raise Failed
        reroutes = self._all.reroutes and side.name == "request"
        await self._talk.headers(side.name, before, after, reroutes=reroutes)
        return whole

    async def _answer(self, answer: Answer) -> None:
        """End the exchange with an answer. Raises ``Failed``."""
        kind = () if "content-type" in answer.headers else (("content-type", "text/plain"),)
        await self._talk.answer(answer.status, [*kind, *answer.headers.items()], answer.body.encode())
        raise Failed

    def _taken(self, name: str, pairs: Pairs) -> Headers:
        """Put a side's message into the exchange; return its headers."""
        if name == "request":
            self.exchange.request = request_of(pairs, self._talk.peer, self._all.settings)
            return self.exchange.request.headers
        if not hasattr(self.exchange, "request"):  # who judges requests before has answered: it never came here
            self._passes = True
        self.exchange.response = Response(pairs)
        return self.exchange.response.headers

    def _held(self, side: Side, part: Part, headers: Headers) -> Whole | None:
        """Return the body that is to be held back, by the headers that it came with."""
        if part.is_last or f"{side.name}_content" not in self._all.phases or side.name not in self._talk.streamed:
            return None
        if not self._all.contents.are_wanted(headers.get("content-type")):
            return None
        return Whole(side, self._all.contents, headers, int(dict(part.pairs).get(":status", 0)))

    def _is_refused_upgrade(self, side: Side, part: Part) -> bool:
        """Whether a body is one that the plugin would have, of an answer in an upgrade's stead: Envoy does not send it, so it
        does not go on either."""
        if part.is_last or side.name == "request" or "response_content" not in self._all.phases:
            return False
        said = dict(part.pairs)
        if side.name in self._talk.streamed or said.get(":status") == "101":
            return False
        return "upgrade" in self.exchange.request.headers and self._all.contents.are_wanted(said.get("content-type"))

    async def _content(self, side: Side, whole: Whole) -> Answer | None:
        """Have the plugin make something of a body; return its answer instead. Raises what it raises, ``ValueError``."""
        content = await whole.gathered()
        if whole.end is not None and self._would_double(side, whole.end):
            return Answer(501, TRAILERS, {})
        found = made_of(await self._call(f"{side.name}_content", content)) if content else None
        if isinstance(found, Answer):
            return found
        whole.made = found
        return None

    def _changed(self, name: str, part: Part) -> Pairs:
        """Return a side's headers with what the plugin has changed. Raises ``ValueError``."""
        message = self.exchange.request if name == "request" else self.exchange.response
        before, dropped = part.pairs, self._dropped(name, part)
        changed, removed = message.headers.changed, message.headers.removed
        after = [(key, value) for key, value in before if key not in changed and key not in removed]
        after += [(key, value.encode().decode("latin-1")) for key, value in changed.items()]
        after = [pair for pair in after if pair[0] not in dropped]
        if name == "response":
            status = self.exchange.response.status
            same = str(status) == dict(before).get(":status")  # an upgrade's is 101
            if not same:
                check_status(status)
            after = [(key, str(status) if key == ":status" else value) for key, value in after]
        return after

    def _dropped(self, name: str, part: Part) -> set[str]:
        """Return the headers that do not go on: the length of what is made of a body that streams or does not come, and what
        would have answers come encoded that the plugin is to read."""
        dropped = {"content-length"} if f"{name}_body" in self._all.phases else set()
        if "response_content" not in self._all.phases:
            return dropped
        if name == "request":
            return dropped | {"accept-encoding"}
        said, method = dict(part.pairs), self.exchange.request.method
        status, kind = int(said.get(":status", 0)), said.get("content-type")
        hides = part.is_last and self._all.contents.hides_length(method, status, kind)
        return {"content-length"} if hides else dropped

    async def _body(self, side: Side) -> Part:
        """Give the body out as the plugin makes it; return what ended it."""
        chunks = Chunks(side, self._all.seconds)
        begun, wanted = asyncio.get_running_loop().time(), False
        try:
            if f"{side.name}_body" in self._all.phases and not self._passes:
                await self._through(side, chunks)
                wanted = True
        except Exception as error:
            kept = chunks.taken
            await self._failed(error, can_pass=kept is not None)
            for data in kept or ():
                await self._talk.body(side.name, data)
        finally:
            chunks.limit = None
            self._took(begun + chunks.waited)
        async for data in chunks:  # what the plugin did not want, or does not see
            if not wanted or self._passes:
                await self._talk.body(side.name, data)
        end = chunks.end
        assert end is not None
        if end.name == "body":
            await self._talk.body(side.name, b"", is_last=True)
        return end

    async def _through(self, side: Side, chunks: Chunks) -> None:
        """Send a body through the plugin's generator. Raises what that raises, ``TimeoutError``, ``ValueError``."""
        method = getattr(self._all.processor, f"{side.name}_body")
        async with asyncio.timeout(self._all.seconds) as chunks.limit, aclosing(method(self.exchange, chunks)) as given:
            async for data in given:
                if not isinstance(data, (bytes, bytearray, memoryview)):
                    raise ValueError(f"{side.name}_body yielded {data!r}: bytes are expected")
                chunks.taken = None
                with chunks.waiting():
                    if data:
                        await self._talk.body(side.name, bytes(data))

    async def _trailers(self, side: Side, part: Part) -> None:
        trailers = Headers(text_of(part.pairs), kept=frozenset())
        try:
            await self._call(f"{side.name}_trailers", trailers)
        except Exception as error:
            await self._failed(error)
            trailers = Headers({}, kept=frozenset())
        after = [(k, v) for k, v in part.pairs if k not in trailers.changed and k not in trailers.removed]
        after += [(key, value.encode().decode("latin-1")) for key, value in trailers.changed.items()]
        await self._talk.trailers(side.name, part.pairs, after)

    async def _failed(self, error: Exception, *, can_pass: bool = True) -> None:
        """Note a failure; let the rest pass, or end the exchange. Raises ``Failed``."""
        if isinstance(error, TimeoutError) and not str(error):
            error = TimeoutError(f"it took longer than {self._all.seconds:g} s")
        self._measured.failed(error)
        if self._all.opens and can_pass:
            self._passes = True
            return
        words = FORBIDDEN.sub(" ", f"plugin failed: {type(error).__name__}: {error}")
        await self._talk.answer(500, [("content-type", "text/plain")], words.encode() + b"\n")
        raise Failed
