#!/usr/bin/env python3
"""Decoding beside other programs that want the cores: tokens/s by threads and by busy processes, programs in turn.

bench/busy.py -m MODEL [--programs PROGRAM,...] [--threads 1,2,4] [--busy 0,1] [-r 5] [-n 32]"""
import argparse
import re
import statistics
import subprocess
import sys


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('-m', '--model', required=True)
    p.add_argument('--programs', default='build/src/cli/fastkv')
    p.add_argument('--threads', default='1,2,4')
    p.add_argument('--busy', default='0,1')
    p.add_argument('-r', type=int, default=5)
    p.add_argument('-n', type=int, default=32)
    return p.parse_args()


def decode(program, o, threads):
    p = subprocess.run([program, 'run', '-m', o.model, '--raw', '-p', 'Once upon a time', '-n', str(o.n), '--temp', '0', '--ignore-eos', '-t', threads],
                       capture_output=True, text=True)
    found = re.search(r'^answer .* ([0-9.]+) tokens/s', p.stderr, re.M)
    return float(found[1]) if found else sys.exit(p.stderr)


def main():
    o = options()
    print('| busy processes | threads | program | median tokens/s | lowest | highest |\n|---:|---:|---|---:|---:|---:|')
    for busy in o.busy.split(','):
        others = [subprocess.Popen(['sh', '-c', 'while :; do :; done']) for _ in range(int(busy))]
        try:
            for threads in o.threads.split(','):
                rates = {program: [] for program in o.programs.split(',')}
                for _ in range(o.r):
                    for program, found in rates.items():
                        found.append(decode(program, o, threads))
                for program, found in rates.items():
                    print(f'| {busy} | {threads} | {program} | {statistics.median(found):.1f} | {min(found):.1f} | {max(found):.1f} |', flush=True)
        finally:
            for other in others:
                other.kill()


main()
