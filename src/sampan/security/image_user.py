"""Who a container's first process is: the user that the pod asks for or the image names, by the image's own /etc/passwd and
/etc/group.

The rules are the kubelet's and the runtime's together. The kubelet passes on the pod's ``runAsUser``, else the user of the
image's ``USER`` (its group is not: ``USER 1000:2000`` runs with the group that /etc/passwd has for 1000, else 0). The runtime
looks the user up, and adds the groups in which /etc/group lists it, unless the policy is Strict (KEP-3619).
Source: kubernetes pkg/kubelet/kuberuntime, containerd's CRI plugin, passwd(5), group(5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Identity(NamedTuple):
    """User, group and supplementary groups of a process. ``None`` where only the image's files could tell."""

    uid: int | None
    gid: int | None
    groups: frozenset[int]
    """Without the group itself."""
    of_image: frozenset[int] = frozenset()
    """Those of the groups that the image's /etc/group alone gave."""


class ImageUser(NamedTuple):
    """What an image says of users. ``passwd`` and ``group`` are the texts of its files, None where nobody read them."""

    user: str = ""
    """Its ``USER``: name or number, maybe with a group after a colon."""
    passwd: str | None = None
    group: str | None = None

    @property
    def name(self) -> str:
        """The user alone."""
        return self.user.partition(":")[0]

    @property
    def uid(self) -> int | None:
        """The user's number, None where it is a name. No user is root."""
        return number(self.name) if self.name else 0


def number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def entries(text: str, fields: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        words = line.strip().split(":")
        if len(words) >= fields and not line.startswith("#"):
            yield words


def looked_up(passwd: str, user: str) -> tuple[str, int, int] | None:
    """Return name, uid and gid of a user by name or number, None where the file does not have it."""
    for name, _, uid, gid, *_ in entries(passwd, 4):
        if user in (name, uid) and uid.isdigit() and gid.isdigit():
            return name, int(uid), int(gid)
    return None


def groups_of(group: str, name: str) -> frozenset[int]:
    """Return the groups that list a user by name as their member."""
    found = (int(gid) for _, _, gid, members in entries(group, 4) if gid.isdigit() and name in members.split(","))
    return frozenset(found)


def identity(
    image: ImageUser,
    run_as_user: int | None = None,
    run_as_group: int | None = None,
    supplemental: Iterable[int] = (),
    *,
    strict: bool = False,
) -> Identity:
    """Return who the first process is. ``supplemental`` holds the pod's ``supplementalGroups`` and its ``fsGroup``."""
    user = str(run_as_user) if run_as_user is not None else image.name or "0"
    uid = number(user)
    known = looked_up(image.passwd, user) if image.passwd is not None else None
    if known is not None:
        uid = known[1]
    gid = run_as_group
    if gid is None and image.passwd is not None and uid is not None:
        gid = known[2] if known is not None else 0
    asked, listed = frozenset(supplemental), frozenset[int]()
    if known is not None and image.group is not None and not strict:
        listed = groups_of(image.group, known[0])
    own = frozenset(() if gid is None else (gid,))
    return Identity(uid, gid, (asked | listed) - own, listed - asked - own)
