"""Who a process is, by the pod, the image's USER and the image's own files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.security.image_user import ImageUser, identity

PASSWD = "root:x:0:0:root:/root:/bin/sh\n# comment:x:9:9\nweb:x:1000:1001::/home/web:\nbroken\nodd:x:no:number::/:\n"
GROUP = "root:x:0:\nweb:x:1001:\nstaff:x:50:web,other\nmore:x:60:web\nbad:x:x:web\n"


def image(user: str) -> ImageUser:
    return ImageUser(user, PASSWD, GROUP)


@pytest.mark.parametrize(
    ("user", "run_as", "expected"),
    [
        ("", (None, None), (0, 0, set())),
        ("web", (None, None), (1000, 1001, {50, 60})),
        ("1000", (None, None), (1000, 1001, {50, 60})),
        ("web:staff", (None, None), (1000, 1001, {50, 60})),  # the kubelet does not pass on the image's group
        ("2000:3000", (None, None), (2000, 0, set())),
        ("web", (7, None), (7, 0, set())),
        ("web", (1000, 5), (1000, 5, {50, 60})),
        ("web", (None, 50), (1000, 50, {60})),
        ("nobody-knows", (None, None), (None, None, set())),
    ],
)
def test_user_and_groups(user: str, run_as: tuple[int | None, int | None], expected: tuple[int, int, set[int]]) -> None:
    assert identity(image(user), *run_as)[:3] == expected


def test_what_the_pod_adds_and_what_strict_leaves_out() -> None:
    assert identity(image("web"), supplemental=[50, 70]) == (1000, 1001, {50, 60, 70}, {60})
    assert identity(image("web"), supplemental=[70], strict=True) == (1000, 1001, {70}, set())


def test_without_the_images_files_only_what_is_asked_for_is_known() -> None:
    assert identity(ImageUser("web")) == (None, None, set(), set())
    assert identity(ImageUser("5"), run_as_group=6) == (5, 6, set(), set())


@given(st.text(), st.text(), st.text())
def test_any_files_are_read(user: str, passwd: str, group: str) -> None:
    found = identity(ImageUser(user, passwd, group))
    assert found.of_image <= found.groups
