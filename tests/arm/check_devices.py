"""One binary, cores of several kinds: `fastkv devices` under qemu reports the best level of each, and FASTKV_ISA chooses among those it has.

usage: check_devices.py QEMU FASTKV CORE BEST_LEVEL
"""
import os
import subprocess
import sys

LEVELS = ["reference", "neon", "dotprod", "i8mm"]


def states(qemu, program, core, isa=None):
    """The state of each level as `fastkv devices` prints it."""
    env = {name: value for name, value in os.environ.items() if name != "FASTKV_ISA"} | {"QEMU_CPU": core}
    if isa:
        env["FASTKV_ISA"] = isa
    lines = subprocess.run([qemu, program, "devices"], env=env, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split(None, 1) for line in lines]
    return {row[0]: row[1] for row in rows if row and row[0] in LEVELS}


def expected(best, in_use):
    there = LEVELS[: LEVELS.index(best) + 1]
    return {level: "not on this CPU" if level not in there else "in use" if level == in_use else "available" for level in LEVELS}


def main():
    qemu, program, core, best = sys.argv[1:]
    for isa in [None] + LEVELS:
        found, wanted = states(qemu, program, core, isa), expected(best, isa or best)
        if found != wanted:
            sys.exit(f"{core}, FASTKV_ISA={isa}: expected {wanted}, got {found}")


main()
