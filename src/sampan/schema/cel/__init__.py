"""The Common Expression Language as Kubernetes has it: parser, checker, costs, and programs of Python closures.

An expression flows: text → tokens (``lexer``) → tree (``parser``, ``macros``) → typed tree (``checker``, ``unify``) →
closures (``compiler``, ``attributes``, ``comprehensions``); ``program`` is the door. Why an engine of our own:
docs/adr. Sources: the CEL specification (github.com/google/cel-spec); cel-go and k8s.io/apiserver for messages and costs.
"""
