"""Freed memory stays with the process, seen from the kernel's own count of page faults."""

import platform
import subprocess
import sys

import pytest

# Blocks of 64 MB, far above what malloc keeps by itself, written to once a page and freed.
FAULTS = """
import resource, sys
from inhouse.run.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(10):
    block = bytearray(64 * 2**20)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def page_faults(how: str) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_freed_block_is_not_faulted_in_again():
    # Ten blocks of 16,384 pages; calloc's zeroes are written only where the block is not fresh.
    assert page_faults("kept") < 0.5 * page_faults("given back")
