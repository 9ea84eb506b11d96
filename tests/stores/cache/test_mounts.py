"""Reading the kernel's table of mounts."""

import os
from pathlib import Path

from narration_cleanup.stores.cache.local.directory import Mounts, mounts_of, read_mounts

TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 8:2 / /srv rw,noatime,nosuid shared:2 - ext4 /dev/sdb1 rw
41 40 0:30 / /srv/cache/sub\\040folder rw - tmpfs tmpfs rw
42 40 8:2 /x /srv/cache/a/b rw,relatime - ext4 /dev/sdb1 rw
43 40 8:2 /x /srv/cache-of-another rw - ext4 /dev/sdb1 rw
"""


def test_mount_points_below_and_the_options_of_its_own() -> None:
    assert read_mounts(TABLE, "/srv/cache", "40") == Mounts(
        frozenset({"sub folder", "a/b"}), frozenset({"rw", "noatime", "nosuid"}), "ext4"
    )
    assert read_mounts(TABLE, "/srv/cache", "99").options == frozenset()
    assert read_mounts(TABLE, "/home", "22") == Mounts(
        options=frozenset({"rw", "relatime"}), file_system="ext4"
    )


def test_the_real_table_can_be_read(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        mounts = mounts_of(fd)
    finally:
        os.close(fd)
    assert mounts.below == frozenset()
    assert mounts.options & {"rw", "ro"}


def test_without_proc_nothing_is_known() -> None:
    assert mounts_of(10**6) == Mounts()
