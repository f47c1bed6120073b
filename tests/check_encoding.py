#!/usr/bin/env python3
"""Checks that what was compiled for machines without AVX-512 can run there: no EVEX instruction (in 64-bit mode only they begin with 62) and,
where the level is about one instruction, that instruction.

check_encoding.py OBJDUMP LIBRARY [INSTRUCTION]"""
import re
import subprocess
import sys


def main():
    objdump, library, *wanted = sys.argv[1:]
    text = subprocess.run([objdump, '-d', '--wide', library], check=True, capture_output=True, text=True).stdout
    evex = re.findall(r'^ *[0-9a-f]+:\t62 .*$', text, re.M)
    if '\t' not in text:
        print(f'{library}: no machine code (link-time optimisation): nothing to check')
        return 77
    print('\n'.join(evex[:10]) or f'{library}: no EVEX instruction')
    missing = [name for name in wanted if name not in text]
    if missing:
        print(f'{library}: expected {missing[0]}, found none')
    return 1 if evex or missing else 0


if __name__ == '__main__':
    sys.exit(main())
