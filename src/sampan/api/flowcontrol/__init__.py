"""API Priority and Fairness: who waits when many ask at once (KEP-1040).

In: the user and the attributes of a request. Out: at once, or after a while in a queue, the right to be served; or 429. A
request is classified by FlowSchemas (``classify.py``), served within the seats of its priority level (``levels.py``), and
waits in one of the level's queues, dealt so that a busy flow meets few others (``queues.py``). Begin with ``control.py``.
"""
