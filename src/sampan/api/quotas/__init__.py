"""What objects use of a namespace's ResourceQuotas: pure functions, for admission and for the controller that recounts.

``usage.usage(group, plural, obj)`` says what one object uses; ``coverage`` says which quotas an object falls under;
``amounts`` adds and compares. Source: kubernetes pkg/quota/v1, k8s.io/apiserver pkg/quota/v1.
"""
