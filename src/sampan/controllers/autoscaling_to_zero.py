"""Scaling to zero and back: who may wake a target that has no replicas. Pure.

A target at zero was put there by its autoscaler, which wakes it again, or by somebody who wants it off. Since 1.36 the
condition ``ScaledToZero`` tells which; before, whoever set ``minReplicas: 0`` had every zero woken.
Source: KEP-2021; kubernetes pkg/controller/podautoscaler.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from sampan.schema.objects import Object

SCALED_TO_ZERO = "ScaledToZero"
BY_US = ("True", "ScaledToZero", "the HPA controller scaled the workload to zero")
NOT_BY_US = ("False", "NotScaledToZero", "the HPA controller did not scale the workload to zero")


class Zero(Enum):
    """What a target at zero means."""

    MARKED = "since 1.36, with the feature gate HPAScaleToZero: the condition tells"
    OFF = "since 1.36, without: it is always left alone"
    OF_MINIMUM = "before 1.36: it is woken where minReplicas is 0"


def zero_of(minor: int, gate: bool) -> Zero:
    """Return what zero means in a minor version of Kubernetes; ``gate``: whether ``HPAScaleToZero`` is on."""
    if minor < 36:
        return Zero.OF_MINIMUM
    return Zero.MARKED if gate else Zero.OFF


def wakes(zero: Zero, spec: Object, conditions: Mapping[str, Object]) -> bool:
    """Whether an autoscaler asks its metrics although its target is at zero."""
    least = spec.get("minReplicas", 1)
    if zero is Zero.OF_MINIMUM:
        return bool(least == 0)
    by_us = zero is Zero.MARKED and conditions.get(SCALED_TO_ZERO, {}).get("status") == "True"
    return by_us and (least != 0 or has_signal(spec))


def mark(spec: Object, current: int, desired: int) -> tuple[str, str, str]:
    """Return status, reason and message of the condition once the target was scaled."""
    to_zero = current > 0 and desired == 0 and spec.get("minReplicas", 1) == 0 and has_signal(spec)
    return BY_US if to_zero else NOT_BY_US


def has_signal(spec: Object) -> bool:
    """Whether a metric says something although there are no pods."""
    return any(metric["type"] in ("Object", "External") for metric in spec.get("metrics") or ())
