"""The admission chain: plugins between decoding and the store, one file each, run in the order of ``chain.py``.

A plugin is a class with ``async def admit(admission)`` (may change ``admission.object`` in place) and/or
``async def validate(admission)``; it refuses by raising ``StatusError``. ``commit(admission)``/``release(admission)``,
where present, are called after the write is durable or has failed (allocators use them).
"""
