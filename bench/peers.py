#!/usr/bin/env python3
"""FastKV beside other engines: the same GGUF, the same prompt lengths, threads and machine, one process a measurement, in turn (A B A B).

  bench/peers.py -m model.gguf                                       llama.cpp at this CPU's level (prebuilt libraries from npm)
  bench/peers.py -m model.gguf --peers llama.cpp,llama.cpp-avx2,openvino
  bench/peers.py -m model.gguf --peer ik_llama.cpp=DIR --kv q8_0     any llama.cpp-compatible source tree with its build in DIR/build
  bench/peers.py -m model.gguf --device vulkan --peers llama.cpp-vulkan  on a GPU, both through Vulkan
  bench/peers.py --plot bench/results/peers.csv                      pictures from a CSV

Prints medians and the ratios of FastKV to each peer, round by round; --csv keeps every measurement. Prompts are pseudo-random ids. Each
peer is run in its best setting: flash attention on, KV as --kv says (for ik_llama.cpp also repacked weights). OpenVINO GenAI converts the file
when it loads; it gets fresh ids every time, as it caches prompts. On a GPU every engine prefills once before it is measured: pipelines are
made, and the GPU raises its clocks.
"""
import argparse
import csv
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get('XDG_CACHE_HOME', pathlib.Path.home() / '.cache')) / 'fastkv' / 'peers'
NPM = {'libraries': '@node-llama-cpp/linux-x64@3.22.1', 'libraries-vulkan': '@node-llama-cpp/linux-x64-vulkan@3.22.1', 'source': 'node-llama-cpp@3.22.1'}
KV_TYPES = {'f16': 1, 'q8_0': 8, 'bf16': 30}
# ids below: in every vocabulary that is measured, and no special token
IDS = (1000, 41000)


def run(command, **options):
    return subprocess.run(command, check=True, text=True, **options)


def measured(command, env=None):
    """What a process printed, its wall time in seconds and its peak memory in MiB."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **(env or {})})
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f'peers.py: {" ".join(map(str, command))}: ended with status {status}')
    return output, time.monotonic() - start, usage.ru_maxrss / 1024


def measured_json(command, env=None):
    output, wall, rss = measured(command, env)
    return json.loads(output), wall, rss


class FastKV:
    def __init__(self, program, policy, isa, device):
        self.program, self.policy, self.isa, self.device = program, policy, isa, device
        self.name = f'fastkv {policy}' + (f' {isa}' if isa else '') + (f' {device}' if device != 'cpu' else '')

    def measure(self, model, threads, n, predict, seed):
        command = [self.program, 'bench', '-m', model, '-t', str(threads), '--lengths', str(n), '--policies', self.policy, '--kv-floor', '0', '--tsp-floor', '0',
                   '-n', str(predict), '-r', '1' if self.device == 'cpu' else '3', '-o', 'json', '--device', self.device]
        rows, wall, rss = measured_json(command, {'FASTKV_ISA': self.isa} if self.isa else None)
        row = rows[0]
        return dict(prefill=row['prefill_tokens_per_s'], decode=row['decode_tokens_per_s'], bandwidth=row['machine_bytes_per_s'] / 1e9, wall=wall,
                    rss=row['peak_rss_bytes'] / 2**20)

    def first_token(self, model, threads):
        _, wall, rss = measured([self.program, 'run', '-m', model, '-t', str(threads), '--raw', '-p', 'The quick brown fox jumps over the lazy dog.', '-n', '1',
                                 '--temp', '0', '--no-progress', '--device', self.device])
        return wall, rss


class Llama:
    """A llama.cpp-compatible library: bench/peer_llama.c, compiled against its headers."""

    def __init__(self, name, headers, libraries, link, kv, device):
        self.name, self.libraries, self.kv, self.warm = f'{name} {kv}', libraries, KV_TYPES[kv], str(int(device != 'cpu'))
        self.program = CACHE / f'peer_{re.sub("[^a-z0-9]", "_", name.lower())}'
        text = (headers[0] / 'llama.h').read_text()
        defines = []
        if re.search(r'bool\s+flash_attn;', text):
            defines.append('-DPEER_OLD_FLASH')
        if re.search(r'llama_batch_get_one\([^)]*pos', text):
            defines.append('-DPEER_OLD_BATCH')
        if 'repack_tensors' in text:
            defines.append('-DPEER_REPACK')
        if any('ggml_backend_load_all_from_path' in (h / 'ggml-backend.h').read_text() for h in headers if (h / 'ggml-backend.h').exists()):
            defines.append('-DPEER_LOAD_BACKENDS')
        folders = sorted({str(l.parent) for l in link})
        run(['gcc', '-O2', *defines, str(HERE / 'peer_llama.c'), '-o', str(self.program), *[f'-I{h}' for h in headers], *map(str, link),
             '-Wl,-rpath,' + ':'.join(folders)])

    def measure(self, model, threads, n, predict, seed):
        row, wall, rss = measured_json([str(self.program), str(self.libraries), model, str(threads), str(self.kv), str(n), str(predict), str(seed), self.warm])
        return dict(prefill=row['prefill'], decode=row['decode'], bandwidth=None, wall=wall, rss=rss)

    def first_token(self, model, threads):
        _, wall, rss = measured([str(self.program), str(self.libraries), model, str(threads), str(self.kv), '11', '0', '1', '0'])
        return wall, rss


class OpenVINO:
    name = 'openvino'

    def __init__(self):
        self.python = CACHE / 'openvino' / 'bin' / 'python'
        if not self.python.exists():
            run([sys.executable, '-m', 'venv', str(CACHE / 'openvino')])
            run([str(self.python), '-m', 'pip', 'install', '-q', 'openvino-genai'])

    def measure(self, model, threads, n, predict, seed):
        row, wall, rss = measured_json([str(self.python), str(HERE / 'peer_openvino.py'), model, str(threads), str(n), str(predict), str(seed)])
        return dict(prefill=row['prefill'], decode=row['decode'], bandwidth=None, wall=wall, rss=rss)

    def first_token(self, model, threads):
        _, wall, rss = measured([str(self.python), str(HERE / 'peer_openvino.py'), model, str(threads), '11', '1', '1'])
        return wall, rss


def npm_libraries(folder):
    """llama.cpp's prebuilt libraries and matching headers, fetched once."""
    for part in (folder, 'source'):
        target = CACHE / part
        if not (target / 'package').exists():
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            archive = run(['npm', 'pack', '--silent', NPM[part]], cwd=target, stdout=subprocess.PIPE).stdout.strip().splitlines()[-1]
            run(['tar', 'xzf', archive], cwd=target)
    if not (CACHE / 'llama.cpp' / 'include' / 'llama.h').exists():
        shutil.rmtree(CACHE / 'llama.cpp', ignore_errors=True)
        run(['git', 'clone', '-q', str(CACHE / 'source/package/llama/gitRelease.bundle'), str(CACHE / 'llama.cpp')])
    return CACHE / 'llama.cpp', next((CACHE / folder / 'package/bins').iterdir())


def npm_peer(name, kv, device, only=None):
    source, libraries = npm_libraries('libraries' if device == 'cpu' else 'libraries-vulkan')
    if only:  # a folder with the one CPU library that is wanted
        chosen = CACHE / f'libraries-{only}'
        shutil.rmtree(chosen, ignore_errors=True)
        chosen.mkdir(parents=True)
        for library in libraries.glob('*.so'):
            if 'ggml-cpu' not in library.name or only in library.name:
                (chosen / library.name).symlink_to(library)
        libraries = chosen
    link = [l for l in libraries.glob('*.so') if l.name.startswith(('libllama.', 'libggml.', 'libggml-base'))]
    return Llama(name, [source / 'include', source / 'ggml/include'], libraries, link, kv, device)


def tree_peer(name, folder, kv, device):
    folder = pathlib.Path(folder)
    link = [next(p for p in (folder / 'build').rglob(f'lib{l}.so')) for l in ('llama', 'ggml')]
    return Llama(name, [folder / 'include', folder / 'ggml/include'], folder / 'build', link, kv, device)


def engines(args):
    ours = [FastKV(args.program, policy, args.isa, args.device) for policy in args.policies.split(',')]
    peers = []
    for name in filter(None, args.peers.split(',')):
        if name == 'openvino':
            peers.append(OpenVINO())
        elif name == 'llama.cpp':
            peers.append(npm_peer(name, 'f16', 'cpu'))
        elif name == 'llama.cpp-vulkan':
            peers.append(npm_peer(name, 'f16', 'vulkan'))
        elif name == 'llama.cpp-avx2':
            peers.append(npm_peer(name, 'f16', 'cpu', only='haswell'))
        else:
            raise SystemExit(f'peers.py: --peers: expected llama.cpp, llama.cpp-vulkan, llama.cpp-avx2 or openvino, found {name}')
    for peer in args.peer:
        name, _, folder = peer.partition('=')
        peers.append(tree_peer(name, folder, args.kv, args.device))
    return ours, peers


def machine():
    cpu = next((l.split(':', 1)[1].strip() for l in open('/proc/cpuinfo') if l.startswith('model name')), platform.machine())
    return f'{cpu}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}'


def report(rows, ours, peers):
    """Medians, and the medians of the ratios of runs that stood next to each other."""
    def values(engine, n, what):
        return [r[what] for r in rows if r['engine'] == engine and r['n'] == n]
    print(f'\n{machine()}\n')
    print('| engine | prompt | prefill t/s | decode t/s at that depth | peak RSS MiB |\n|---|---:|---:|---:|---:|')
    lengths = sorted({r['n'] for r in rows if r['n'] > 0})
    for n in lengths:
        for e in ours + peers:
            if values(e.name, n, 'prefill'):
                print(f'| {e.name} | {n:,} | {statistics.median(values(e.name, n, "prefill")):.1f} | {statistics.median(values(e.name, n, "decode")):.2f} | '
                      f'{statistics.median(values(e.name, n, "rss")):.0f} |')
    print('\n| ratio | prompt | prefill | decode |\n|---|---:|---:|---:|')
    for n in lengths:
        for o in ours:
            for p in peers:
                ratio = {what: [a / b for a, b in zip(values(o.name, n, what), values(p.name, n, what)) if b] for what in ('prefill', 'decode')}
                if ratio['prefill'] and ratio['decode']:
                    print(f'| {o.name} / {p.name} | {n:,} | {statistics.median(ratio["prefill"]):.2f} | {statistics.median(ratio["decode"]):.2f} |')
    print('\n| engine | start to first token of an 11-token prompt, s | peak RSS MiB |\n|---|---:|---:|')
    for e in ours[:1] + peers:
        print(f'| {e.name} | {statistics.median(values(e.name, 0, "wall")):.2f} | {statistics.median(values(e.name, 0, "rss")):.0f} |')


FIELDS = ['machine', 'model', 'engine', 'round', 'n', 'prefill', 'decode', 'bandwidth', 'wall', 'rss']


def compare(args):
    CACHE.mkdir(parents=True, exist_ok=True)
    ours, peers = engines(args)
    rows = []
    for round_ in range(args.rounds):
        for e in ours[:1] + peers:
            wall, rss = e.first_token(args.model, args.threads)
            rows.append(dict(engine=e.name, round=round_, n=0, prefill=None, decode=None, bandwidth=None, wall=wall, rss=rss))
        for n in map(int, args.lengths.split(',')):
            for e in ours + peers:
                row = e.measure(args.model, args.threads, n, args.predict, 7919 * round_ + n)
                rows.append(dict(engine=e.name, round=round_, n=n, **row))
                print(f'round {round_} {e.name} {n}: prefill {row["prefill"]:.1f}, decode {row["decode"]:.2f} t/s', file=sys.stderr, flush=True)
    if args.csv:
        new = not os.path.exists(args.csv)
        with open(args.csv, 'a', newline='') as f:
            w = csv.DictWriter(f, FIELDS)
            if new:
                w.writeheader()
            for r in rows:
                w.writerow(dict(machine=machine(), model=pathlib.Path(args.model).stem, **r))
    report(rows, ours, peers)


def plot(path):
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    rows = [r for r in csv.DictReader(open(path)) if int(r['n']) > 0]
    for model in sorted({r['model'] for r in rows}):
        figure, axes = plt.subplots(1, 2, figsize=(11, 4.2))
        for engine in sorted({r['engine'] for r in rows if r['model'] == model}):
            mine = [r for r in rows if r['engine'] == engine and r['model'] == model]
            lengths = sorted({int(r['n']) for r in mine})
            for axis, what in zip(axes, ('prefill', 'decode')):
                axis.plot(lengths, [statistics.median(float(r[what]) for r in mine if int(r['n']) == n) for n in lengths], marker='o', label=engine)
        for axis, title in zip(axes, ('prefill', 'decoding at that depth')):
            axis.set(title=title, xlabel='prompt tokens', ylabel='tokens/s')
            axis.set_xscale('log', base=2)
            ticks = sorted({int(r['n']) for r in rows if r['model'] == model})
            axis.set_xticks(ticks, [f'{n:,}' for n in ticks])
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
        axes[1].legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5))
        figure.suptitle(f'{model}, {rows[0]["machine"]}', fontsize=9)
        figure.tight_layout()
        target = pathlib.Path(path).with_name(f'{pathlib.Path(path).stem}-{model}.png')
        figure.savefig(target, dpi=110)
        print(target)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('-m', '--model', help='GGUF file')
    p.add_argument('--program', default='build/src/cli/fastkv', help='our program (default %(default)s)')
    p.add_argument('--lengths', default='512,2048,8192', help='prompt lengths (default %(default)s)')
    p.add_argument('--policies', default='full,fastkv', help='our policies, rates 0.2 and 0.1, no floors (default %(default)s)')
    p.add_argument('--isa', help='force our ISA level')
    p.add_argument('--device', default='cpu', help='our device, as `fastkv --device` has it (default %(default)s)')
    p.add_argument('--peers', default='llama.cpp', help='llama.cpp, llama.cpp-vulkan, llama.cpp-avx2, openvino, or nothing (default %(default)s)')
    p.add_argument('--peer', action='append', default=[], metavar='NAME=DIR', help='a llama.cpp-compatible tree, built in DIR/build')
    p.add_argument('--kv', default='q8_0', choices=KV_TYPES, help='KV cache of --peer engines (default %(default)s)')
    p.add_argument('-t', '--threads', type=int, default=2)
    p.add_argument('-n', '--predict', type=int, default=32, help='tokens decoded at each depth (default %(default)s)')
    p.add_argument('-r', '--rounds', type=int, default=3)
    p.add_argument('--csv', help='append every measurement to this file')
    p.add_argument('--plot', metavar='CSV', help='draw prefill and decoding against length (needs matplotlib)')
    args = p.parse_args()
    if args.plot:
        plot(args.plot)
    elif args.model:
        compare(args)
    else:
        p.error('-m MODEL or --plot CSV is needed')


if __name__ == '__main__':
    main()
