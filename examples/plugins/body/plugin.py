"""Takes fields out of JSON answers, however deep, and leaves every other answer as it is."""

import json


class Rewrite:
    def __init__(self, *, remove):
        self.remove = frozenset(remove)

    def response_content(self, exchange, content):
        try:
            return json.dumps(json.loads(content, object_hook=self.cleaned)).encode()
        except ValueError:  # it only said that it was JSON
            return None

    def cleaned(self, found):  # of each object, as the parser has made it
        for name in self.remove:
            found.pop(name, None)
        return found
