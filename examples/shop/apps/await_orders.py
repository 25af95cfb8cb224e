"""What the Job waits for before it begins: somebody who takes orders."""

import os
import socket
import time

while True:
    try:
        socket.create_connection((os.environ["ORDERS"], 80), timeout=2).close()
        break
    except OSError as error:
        print("not yet:", error)
        time.sleep(0.2)
