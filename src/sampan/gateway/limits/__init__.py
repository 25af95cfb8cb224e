"""Our own Rate Limit Service: what Envoy asks before a request goes on, and tells when it has ended.

    Envoy ──gRPC, Unix socket──▶ service ──▶ buckets   (so many in a time)
                                        ──▶ flights   (so many at once)
                                        ──▶ peers     (a bucket that all replicas share has one owner among them)

The service keeps no configuration: what is asked says the limit (``descriptors``), as the route of Envoy has it, so a change
of a Middleware is live with its route. Source: ``envoy.service.ratelimit.v3``, Envoy's HTTP filter ``ratelimit``.
"""
