"""An instruction that a core lacks ends the program under qemu: what the other tests of the suite lean on. Planted: a level's product run unguarded.

usage: check_illegal.py QEMU UNGUARDED
"""
import os
import signal
import subprocess
import sys

# level: a core that has it, one that lacks it
CORES = {"neon": ("cortex-a53", None), "dotprod": ("neoverse-n1", "cortex-a72"), "i8mm": ("max", "neoverse-n1")}


def status(qemu, program, core, level):
    return subprocess.run([qemu, program, level], env=os.environ | {"QEMU_CPU": core}, stderr=subprocess.DEVNULL).returncode


def main():
    qemu, program = sys.argv[1:]
    for level, cores in CORES.items():
        for core, wanted in zip(cores, (0, -signal.SIGILL)):
            found = status(qemu, program, core, level) if core else wanted
            if found != wanted:
                sys.exit(f"{level} on {core}: expected exit status {wanted}, got {found}")


main()
