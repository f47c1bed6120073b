#!/usr/bin/env python3
"""Instructions that the ARM kernels execute per useful operation, counted under qemu: the stand-in for speed where there is no ARM machine.

usage: bench/arm/instructions.py BUILD [CASE...]

BUILD is an aarch64 build folder (meson setup BUILD --cross-file scripts/aarch64-qemu.cross). Needs qemu-aarch64 with plugin support, cc and the
cross binutils. Prints Markdown. Two numbers of calls are counted and subtracted: what is left is the kernel, unpacking and tails included.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KINDS = ["all", "sdot", "smmla", "bfmmla", "fmla", "smlal"]
# Multiply-adds of one instruction.
WIDTHS = {"sdot": 16, "smmla": 32, "bfmmla": 16, "fmla": 4, "smlal": 8}
# The widest instruction a level has for a kind of product.
IDEAL = {"int8": {"neon": "smlal", "dotprod": "sdot", "i8mm": "smmla"}, "half": {"neon": "fmla", "dotprod": "fmla", "i8mm": "bfmmla"},
         "f32": {"neon": "fmla", "dotprod": "fmla", "i8mm": "fmla"}}
LEVELS = ["neon", "dotprod", "i8mm"]


def kind_of_product(case):
    if re.match(r"(panel|matvec)_q", case):
        return "int8"
    if re.match(r"panel_(f16|bf16)|attend_", case):
        return "half"
    return "f32" if re.match(r"panel|matvec|attend|window_logits", case) else None


def count(plugin, program, level, case, calls):
    done = subprocess.run(["qemu-aarch64", "-cpu", "max", "-plugin", plugin, "-d", "plugin", program, level, case, str(calls)],
                          capture_output=True, text=True, check=True)
    return float(done.stdout), dict(zip(KINDS, map(int, done.stderr.split())))


def one_call(plugin, program, level, case):
    operations, once = count(plugin, program, level, case, 1)
    _, twice = count(plugin, program, level, case, 2)
    return operations, {kind: twice[kind] - once[kind] for kind in KINDS}


def kernel_table(plugin, program, cases):
    print("Instructions per 1000 operations (multiply-adds of a product, values of the rest); in brackets the share that multiplies and adds.")
    print("Ideal: nothing but the widest multiply-add of the level.\n")
    print("| kernel | " + " | ".join(LEVELS) + " | ideal |")
    print("|---|" + "---|" * (len(LEVELS) + 1))
    for case in cases:
        cells, ideals = [], []
        for level in LEVELS:
            operations, n = one_call(plugin, program, level, case)
            product = kind_of_product(case)
            multiplies = 100 * sum(n[kind] for kind in WIDTHS) / n["all"]
            cells.append(f"{1000 * n['all'] / operations:.0f}" + (f" ({multiplies:.0f} %)" if product else ""))
            ideals += [f"{IDEAL[product][level]} {1000 / WIDTHS[IDEAL[product][level]]:.0f}"] if product else []
        print(f"| {case} | " + " | ".join(cells) + " | " + ", ".join(dict.fromkeys(ideals)) + " |")


def loops(disassembly):
    """(function, instructions of the loop) for every backward branch."""
    function, code = None, []
    for line in disassembly.splitlines():
        if found := re.match(r"[0-9a-f]+ <(\w+)>:", line):
            function, code = found[1], []
        elif found := re.match(r"\s+([0-9a-f]+):\s+(\S+)\s*(.*)", line):
            code.append((int(found[1], 16), found[2]))
            target = re.match(r"(?:\w+, )?([0-9a-f]+) <", found[3])
            if found[2].startswith(("b.", "cb")) and target and int(target[1], 16) < code[-1][0]:
                yield function, [name for address, name in code if address >= int(target[1], 16)]


def loop_table(build):
    print("The inner loop of the int8 panels as compiled: it serves all seven types.\n")
    print("| level | function | instructions | sdot or smmla | share | with the fmla of the scales |")
    print("|---|---|---|---|---|---|")
    for level, instruction in (("dotprod", "sdot"), ("i8mm", "smmla")):
        found = next(pathlib.Path(build, "simd").glob(f"libsimd_{level}.a.p/*tile_8.c.o"))
        text = subprocess.run(["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", found], capture_output=True, text=True, check=True).stdout
        longest = {}
        for function, names in loops(text):
            if len(names) > len(longest.get(function, [])):
                longest[function] = names
        for function, names in sorted(longest.items()):
            n, fmla = names.count(instruction), names.count("fmla")
            print(f"| {level} | {function} | {len(names)} | {n} | {100 * n / len(names):.1f} % | {100 * (n + fmla) / len(names):.1f} % |")


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    build, wanted = sys.argv[1], sys.argv[2:]
    program = str(pathlib.Path(build, "bench/arm/call_kernel"))
    subprocess.run(["ninja", "-C", build, "bench/arm/call_kernel"], stdout=subprocess.DEVNULL, check=True)
    with tempfile.TemporaryDirectory() as folder:
        plugin = folder + "/count.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", plugin, HERE / "count_instructions.c"], check=True)
        cases = subprocess.run(["qemu-aarch64", program], capture_output=True, text=True, check=True).stdout.split()
        kernel_table(plugin, program, [case for case in cases if not wanted or case in wanted])
    print()
    loop_table(build)


main()
