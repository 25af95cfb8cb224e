"""Kafka, by the library aiokafka (the extra ``sampan[kafka]``): ``acks=all`` and an idempotent producer, a topic and a key by
patterns; records of one stream have the same key, and so keep their order.

``url`` is ``kafka://broker:9092,broker:9092/TOPIC`` (or ``brokers`` and ``topic``); with ``tls:`` or ``kafka+tls://`` it
speaks TLS, with ``user`` SASL. Each record has its id as the header ``id``: what is sent again after a crash can be known by
it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from sampan.logs.log_record import Batch, Delivery, time_of_delivery
from sampan.logs.outputs import tls
from sampan.logs.outputs.batches import ids_of, only
from sampan.logs.outputs.dividing import divided
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.outputs.output import Output, Undelivered, json_line, text_line
from sampan.logs.outputs.patterns import Pattern, pattern_of
from sampan.logs.outputs.sending import Verdict, send

logger = logging.getLogger("sampan.logs")

BATCH_BYTES = 1 << 20
TOPIC = "logs"
KEY = "{pod_uid}/{container}/{stream}"
FILE_KEY = "{file}"
"""Of records that are of no pod."""
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
STOP_SECONDS = 2.0
MESSAGE_BYTES = 1 << 20
"""What a broker takes if nobody says otherwise."""
ROUND_BYTES = 512
"""What a message has beside its value, about."""
COMPRESSIONS = ("none", "gzip")
"""What needs no further library."""


def value_json(delivery: Delivery) -> bytes:
    return json_line(delivery)[:-1]


def value_text(delivery: Delivery) -> bytes:
    return text_line(delivery)[:-1]


FORMATS: dict[str, Callable[[Delivery], bytes]] = {"json": value_json, "text": value_text}


class Kafka:
    def __init__(
        self,
        name: str,
        settings: dict[str, Any],
        topic: Pattern,
        key: Pattern | None = None,
        value: Callable[[Delivery], bytes] = value_json,
        timeout_seconds: float = 60.0,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        """``settings`` are the producer's."""
        self.name, self._settings, self._topic, self._key, self._value = name, settings, topic, key, value
        self._of_pod, self._of_file = Pattern(KEY), Pattern(FILE_KEY)
        self._timeout, self._batch_bytes = timeout_seconds, batch_bytes
        self._message_bytes: int = settings["max_request_size"]
        self._producer: Any = None

    async def open(self, mark: int | None) -> int:
        return 0

    async def deliver(self, batch: Batch) -> int:
        await send(batch, self._batch_bytes, self._send)
        return 0

    def key_of(self, delivery: Delivery) -> bytes:
        pattern = self._key or (self._of_pod if delivery[0].values.get("pod_uid") else self._of_file)
        return pattern(delivery).encode()

    async def _send(self, part: Batch) -> Verdict:
        """While brokers are away the library goes on with the same numbers, so that nothing is double: it is waited for."""
        from aiokafka.errors import KafkaError

        ids = ids_of(part) or ("",) * len(part)
        given: list[asyncio.Future[Any]] = []
        broken: BaseException | None = None
        try:
            producer = await self._started()
            for delivery, identity in zip(part, ids, strict=True):
                given.append(await self._give(producer, delivery, identity))
        except (KafkaError, OSError) as error:
            broken = error
        if given:
            await self._acknowledged(given)
        verdict = self._verdict(part, given, broken)
        if len(verdict.again) or verdict.refused:
            await self.close()  # the numbers of an idempotent producer have a hole now
        if len(verdict.again) == len(part):
            raise Undelivered(verdict.message)
        return verdict

    async def _give(self, producer: Any, delivery: Delivery, identity: str) -> asyncio.Future[Any]:
        """Hand a record to the producer, one that is too large in parts. What it does not take has failed."""
        parts = divided(delivery, self._fits, identity)
        if len(parts) == 1:
            return await self._give_message(producer, parts[0], identity)
        given = [
            await self._give_message(producer, part, f"{identity}.{number}" if identity else "")
            for number, part in enumerate(parts)
        ]
        return asyncio.gather(*given)

    def _fits(self, delivery: Delivery) -> bool:
        size = len(self._value(delivery)) if len(delivery[1].text) * 2 + ROUND_BYTES > self._message_bytes else 0
        return size + ROUND_BYTES <= self._message_bytes

    async def _give_message(self, producer: Any, delivery: Delivery, identity: str) -> asyncio.Future[Any]:
        from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError

        milliseconds = (time_of_delivery(delivery) or delivery[2]) // 1_000_000
        topic = self._topic(delivery)
        while True:
            try:
                given: asyncio.Future[Any] = await producer.send(
                    topic,
                    self._value(delivery),
                    key=self.key_of(delivery),
                    timestamp_ms=max(milliseconds, 0),
                    headers=[("id", identity.encode())] if identity else None,
                )
            except KafkaTimeoutError:
                logger.warning("%s has no room: topic %s takes nothing for %.0f s", self.name, topic, self._timeout)
            except MessageSizeTooLargeError as error:
                given = asyncio.get_running_loop().create_future()
                given.set_exception(error)
                return given
            else:
                return given

    async def _acknowledged(self, given: list[asyncio.Future[Any]]) -> None:
        waiting = set(given)
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=self._timeout)
            if waiting:
                logger.warning("%s does not acknowledge %d records; it is asked again", self.name, len(waiting))

    def _verdict(self, part: Batch, given: list[asyncio.Future[Any]], broken: BaseException | None) -> Verdict:
        from aiokafka.errors import MessageSizeTooLargeError

        failures = [acknowledgement.exception() for acknowledgement in given]
        refused = sum(isinstance(failure, MessageSizeTooLargeError) for failure in failures)
        again = [
            number
            for number in range(len(part))
            if number >= len(given)
            or not (failures[number] is None or isinstance(failures[number], MessageSizeTooLargeError))
        ]
        spoken = broken or next(filter(None, failures), None)
        message = f"{self.name}: {spoken or type(spoken).__name__}" if spoken is not None else ""
        return Verdict(only(part, again) if again else (), refused, message)

    async def _started(self) -> Any:
        if self._producer is None:
            from aiokafka import AIOKafkaProducer

            settings = dict(self._settings)
            if settings.get("ssl_context") is not None:
                settings["ssl_context"] = settings["ssl_context"]()
            producer = AIOKafkaProducer(
                acks="all",
                enable_idempotence=True,
                linger_ms=5,
                request_timeout_ms=int(self._timeout * 1000),
                **settings,
            )
            self._producer = producer
            try:
                await producer.start()
            except BaseException:
                await self.close()
                raise
        return self._producer

    async def reset(self) -> None:
        await self.close()

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        stopping = asyncio.create_task(producer.stop(), name=f"stop {self.name}")
        await asyncio.wait({stopping}, timeout=STOP_SECONDS)
        if not stopping.done():  # no broker takes what it still has; it is sent again by the next agent
            stopping.cancel()
            await asyncio.wait({stopping})
            await producer.client.close()


def make(name: str, options: Options) -> Output:
    """Raises ``OptionError``."""
    try:
        import aiokafka  # noqa: F401
    except ImportError as error:
        raise OptionError(
            options.place("type"), "kafka needs the library aiokafka: pip install 'sampan[kafka]'"
        ) from error
    brokers, topic, secure = addresses_of(options)
    settings: dict[str, Any] = {
        "bootstrap_servers": list(brokers),
        "client_id": options.text("client_id", "sampan-logs"),
    }
    compression = options.one_of("compression", COMPRESSIONS, "gzip")
    settings["max_request_size"] = options.size("message_bytes", MESSAGE_BYTES, least=1024)
    settings["compression_type"] = None if compression == "none" else compression
    settings |= security_of(options, secure)
    key = pattern_of(options, "key", "") if "key" in options else None
    return Kafka(
        name,
        settings,
        pattern_of(options, "topic", topic or TOPIC),
        key,
        FORMATS[options.one_of("format", FORMATS, "json")],
        options.seconds("timeout", 60.0),
        options.size("batch_bytes", BATCH_BYTES),
    )


def addresses_of(options: Options) -> tuple[tuple[str, ...], str, bool]:
    """Return brokers, topic (``""``: none is said) and whether TLS is wanted."""
    url = options.text("url")
    if not url:
        return options.texts("brokers") or (options.needed("brokers"),), "", False
    parts = urlsplit(url)
    if parts.scheme not in ("kafka", "tls") or not parts.netloc:
        raise OptionError(options.place("url"), f"kafka://BROKER:9092/TOPIC is wanted, not {url!r}")
    return tuple(parts.netloc.split(",")), parts.path.strip("/"), parts.scheme == "tls"


def security_of(options: Options, secure: bool) -> dict[str, Any]:
    """Return the producer's settings of TLS (``ssl_context`` makes one) and SASL."""
    tls_options = options.inner("tls")
    contexts = tls.contexts_of(tls_options) if secure or "tls" in options else None
    user, password = options.text("user"), options.secret("password")
    found: dict[str, Any] = {"ssl_context": contexts}
    mechanism = options.one_of("sasl_mechanism", MECHANISMS, "PLAIN")
    if user:
        found |= {"sasl_mechanism": mechanism, "sasl_plain_username": user, "sasl_plain_password": password}
    protocol = ("SASL_" if user else "") + ("SSL" if contexts is not None else "PLAINTEXT")
    return found | {"security_protocol": protocol}
