"""Takes fields out of JSON answers, however deep, and leaves every other answer as it is."""

import json


class Rewrite:
    def __init__(self, *, remove):
        self.remove = frozenset(remove)

    def response_content(self, exchange, content):
        try:
            return json.dumps(json.loads(content, object_pairs_hook=self.kept)).encode()
        except ValueError:  # it only said that it was JSON
            return None

    def kept(self, pairs):  # of each object, as the parser has found it
        return {name: value for name, value in pairs if name not in self.remove}
