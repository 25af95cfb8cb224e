"""Kubernetes DNS 1.1: question bytes to answer bytes."""
