"""Running the admission plugins over one write.

``Chain`` asks each plugin once per kind of write whether it cares (``handles``), so a write only meets those that do.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import isawaitable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sampan.api.request import Admission

if TYPE_CHECKING:
    from sampan.api.metrics.measured import Measured

Hooks = tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...], bool]
"""What to call for one kind of write: ``admit`` methods, ``validate`` methods, plugins with commit or release; and whether
any of the first may change the object."""


class Chain:
    """The plugins of one API, in order."""

    def __init__(self, plugins: Sequence[Any] = ()) -> None:
        self.plugins = tuple(plugins)
        self.measured: Measured | None = None
        """Where the time of plugins goes, once somebody looks at it."""
        self._chosen: dict[tuple[int, str, str], Hooks] = {}

    def _choose(self, admission: Admission) -> Hooks:
        key = (id(admission.resource), admission.subresource, admission.operation)
        chosen = self._chosen.get(key)
        if chosen is None:
            interested = [
                plugin
                for plugin in self.plugins
                if (admission.operation != "CONNECT" or getattr(plugin, "connects", False))
                and (
                    not hasattr(plugin, "handles")
                    or plugin.handles(admission.resource, admission.subresource, admission.operation)
                )
            ]
            chosen = self._chosen[key] = (
                tuple(plugin.admit for plugin in interested if hasattr(plugin, "admit")),
                tuple(plugin.validate for plugin in interested if hasattr(plugin, "validate")),
                tuple(plugin for plugin in interested if hasattr(plugin, "commit") or hasattr(plugin, "release")),
                any(hasattr(plugin, "admit") and not getattr(plugin, "judges", False) for plugin in interested),
            )
        return chosen

    def wants(self, admission: Admission) -> bool:
        """Whether any plugin would look at it."""
        admits, validates, _, _ = self._choose(admission)
        return bool(admits or validates)

    def changes(self, admission: Admission) -> bool:
        """Whether ``admit`` may change the object: plugins that only refuse there say so by ``judges``."""
        return self._choose(admission)[3]

    def forget(self) -> None:
        """Ask the plugins anew: the resources have changed."""
        self._chosen.clear()

    async def admit(self, admission: Admission) -> None:
        """Run the mutating plugins; twice where one of them asks for it, as kube-apiserver's reinvoker does."""
        plugins = self._choose(admission)[0]
        if self.measured is not None:
            await self._timed(self.measured, plugins, admission, "admit")
            return
        for admit in plugins:
            await admit(admission)
        if admission.reinvoke:
            for admit in plugins:
                await admit(admission)

    async def validate(self, admission: Admission) -> None:
        plugins = self._choose(admission)[1]
        if self.measured is not None:
            await self._timed(self.measured, plugins, admission, "validate")
            return
        for validate in plugins:
            await validate(admission)

    async def _timed(self, measured: Measured, plugins: tuple[Any, ...], admission: Admission, step: str) -> None:
        begun, rejected = perf_counter(), "true"
        try:
            for plugin in plugins:
                await self._timed_plugin(measured, plugin, admission, step)
            if step == "admit" and admission.reinvoke:
                for plugin in plugins:
                    await self._timed_plugin(measured, plugin, admission, step)
            rejected = "false"
        finally:
            elapsed, operation = perf_counter() - begun, admission.operation
            name = "apiserver_admission_step_admission_duration_seconds"
            measured.observe(name, elapsed, step, operation, rejected)

    async def _timed_plugin(self, measured: Measured, plugin: Any, admission: Admission, step: str) -> None:
        begun, rejected = perf_counter(), "true"
        try:
            await plugin(admission)
            rejected = "false"
        finally:
            elapsed, operation = perf_counter() - begun, admission.operation
            name = "apiserver_admission_controller_admission_duration_seconds"
            measured.observe(name, elapsed, type(plugin.__self__).__name__, step, operation, rejected)

    async def finish(self, admission: Admission, written: bool) -> None:
        """Tell allocators that the write is durable, or has failed."""
        for plugin in self._choose(admission)[2]:
            hook = getattr(plugin, "commit" if written else "release", None)
            if hook is not None:
                told = hook(admission)
                if isawaitable(told):
                    await told
