"""The function libraries beside the standard: one file a library, each a list of overloads.

Which Kubernetes version has which is in ``environment.py``. Source: k8s.io/apiserver/pkg/cel/library and cel-go's ext.
"""
