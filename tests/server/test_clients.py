#!/usr/bin/env python3
"""Programs of others that speak to servers, as pip and npm install them, over Qwen2.5-Coder-0.5B. What is not installed in $FKV_CLIENTS is."""
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent / 'clients'
FOLDER = pathlib.Path(os.environ['FKV_CLIENTS'])
MODEL = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'fastkv' / 'qwen2.5-coder-0.5b.gguf'
SKIPPED = 77
SILENT = {'LITELLM_LOCAL_MODEL_COST_MAP': 'True', 'LITELLM_TELEMETRY': 'False', 'DO_NOT_TRACK': '1', 'PYTHONWARNINGS': 'ignore', 'TMPDIR': os.environ.get('TMPDIR', '/tmp')}


def skip(why):
    print(why)
    sys.exit(SKIPPED)


def install(wanted, commands):
    """Once for each version of the list: it is kept beside what it brought."""
    have, text = FOLDER / wanted, (HERE / wanted).read_text()
    if have.is_file() and (FOLDER / f'{wanted}.done').is_file() and have.read_text() == text:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    have.write_text(text)
    for command in commands:
        if subprocess.run(command, cwd=FOLDER, stdout=subprocess.DEVNULL).returncode:
            skip(f'{wanted}: the clients cannot be installed')
    (FOLDER / f'{wanted}.done').touch()


if not MODEL.is_file():
    skip(f'{MODEL} is missing: scripts/get_model.py {MODEL.stem}')
if not shutil.which('npm'):
    skip('npm is missing')
install('requirements.txt', [[sys.executable, '-m', 'venv', 'venv'], ['venv/bin/pip', 'install', '-q', '--disable-pip-version-check', '-r', 'requirements.txt']])
install('package.json', [['npm', 'install', '--no-audit', '--no-fund', '--no-package-lock', '--silent']])

os.environ['FKV_SMALL_MODEL'], os.environ['FKV_MODEL'] = os.environ['FKV_MODEL'], str(MODEL)
from harness import Server  # noqa: E402: it wants a model

server = Server('-t', '2', '-c', '4096', '-np', '2')
env = {**os.environ, **SILENT, 'FKV_URL': f'http://127.0.0.1:{server.port}', 'FKV_CLIENTS': str(FOLDER), 'PYTHONPATH': str(HERE.parent)}
done = [subprocess.run(command, env=env, timeout=900).returncode for command in ([FOLDER / 'venv/bin/python', HERE / 'pypi.py'], ['node', '--test', HERE / 'npm.mjs'])]
done.append(server.stop())
if any(done):
    print(f'exit status of pypi.py, npm.mjs and the server: {done}\n{server.text()}')
sys.exit(any(done))
