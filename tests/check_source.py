#!/usr/bin/env python3
"""Checks of the source as text: every header compiles alone, each tier includes only itself and the tiers before it, and all of it is
as .clang-format has it, in 120 columns.

check_source.py headers ROOT BUILD CC...    check_source.py direction ROOT    check_source.py format ROOT CLANG_FORMAT"""
import pathlib
import re
import subprocess
import sys

# Lowest first (docs: CONTRIBUTING.md, "Where things are"). A tier may include itself and those before it.
TIERS = ['simd', 'src/include', 'src/base', 'src/quant', 'src/gguf', 'src/tokenizer', 'src/template', 'src/backend', 'vulkan', 'src/kv',
         'src/retain', 'src/model', 'models', 'src/engine']
# The program, and what it measures quality with, see the public header and the machine; nothing of how the engine works.
ALONE = {'src/eval': ['src/eval', 'src/include', 'src/base'], 'src/cli': ['src/cli', 'src/eval', 'src/include', 'src/base'],
         'src/server': ['src/server', 'src/cli', 'src/eval', 'src/include', 'src/base']}


def tier_of(root, path):
    folder = path.relative_to(root).as_posix()
    for tier in list(ALONE) + TIERS:
        if folder.startswith(tier + '/'):
            return tier
    return None


def resolve(root, includer, name):
    for base in (includer.parent, root / 'src' / 'include', root / 'src', root):
        if (base / name).is_file():
            return (base / name).resolve()
    return None


def check_direction(root):
    bad = []
    for path in sorted(p for folder in ('src', 'simd', 'models', 'vulkan') for p in (root / folder).rglob('*.[ch]')):
        tier = tier_of(root, path)
        if tier is None:
            bad.append(f'{path}: belongs to no tier')
            continue
        allowed = ALONE.get(tier) or TIERS[:TIERS.index(tier) + 1]
        for name in re.findall(r'^#include "([^"]+\.h)"', path.read_text(), re.M):
            target = resolve(root, path, name)
            if target and tier_of(root, target) not in allowed:
                bad.append(f'{path.relative_to(root)} ({tier}) includes {target.relative_to(root)} ({tier_of(root, target)})')
    return bad


def check_headers(root, build, *cc):
    bad = []
    flags = ['-std=c11', '-Wall', '-Wextra', '-Werror', '-fsyntax-only', '-x', 'c', f'-I{root}', f'-I{root}/src', f'-I{root}/src/include', f'-I{build}/simd']
    isa = {'avx2': ['-mavx2', '-mfma', '-mf16c', '-mbmi2'], 'avxvnni': ['-mavx2', '-mfma', '-mf16c', '-mbmi2'], 'dotprod': ['-march=armv8.2-a+fp16+dotprod'], 'i8mm': ['-march=armv8.2-a+fp16+dotprod+i8mm+bf16']}
    wide = isa['avx2'] + ['-mavx512f', '-mavx512bw', '-mavx512vl', '-mavx512dq', '-mavx512cd', '-mavx512vnni', '-mavx512vbmi', '-mavx512bf16']
    isa['amx'] = wide + ['-mamx-tile', '-mamx-bf16']
    arm = '__aarch64__' in subprocess.run([*cc, '-dM', '-E', '-x', 'c', '/dev/null'], capture_output=True, text=True).stdout
    flags.append(f'-I{root}/simd/' + ('neon' if arm else 'avx2'))  # bytes16.h
    isa['types'] = [] if arm else isa['avx2']
    volk = subprocess.run([*cc, *flags, '-'], input='#include <volk.h>\n', capture_output=True, text=True).returncode == 0
    for header in sorted(p for folder in ('src', 'simd', 'models', 'vulkan') for p in (root / folder).rglob('*.h')):
        folder = header.parent.name
        if arm and folder.startswith(('avx', 'amx')):
            continue
        if folder == 'vulkan' and not volk:
            continue
        extra = isa.get(folder, wide if folder.startswith('avx512') else [])
        if arm is False and folder in ('neon', 'dotprod', 'i8mm', 'sve'):
            continue
        done = subprocess.run([*cc, *flags, *extra, '-'], input=f'#include "{header}"\n', capture_output=True, text=True)
        if done.returncode:
            bad.append(f'{header.relative_to(root)} does not compile alone:\n{done.stderr}')
    return bad


def check_format(root, clang_format):
    files = sorted(p for folder in ('src', 'simd', 'models', 'vulkan', 'tests', 'bench') for p in (root / folder).rglob('*') if p.suffix in ('.c', '.h', '.inc'))
    done = subprocess.run([clang_format, '--dry-run', '-Werror', *files], capture_output=True, text=True)
    bad = [line for line in done.stderr.splitlines() if ': error: ' in line]
    for path in files:
        bad += [f'{path}:{i}: wider than 120 columns' for i, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 120]
    return bad


def main():
    root = pathlib.Path(sys.argv[2]).resolve()
    checks = {'headers': check_headers, 'direction': check_direction, 'format': check_format}
    bad = checks[sys.argv[1]](root, *sys.argv[3:])
    print('\n'.join(bad))
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
