#!/usr/bin/env python3
"""Models that Ollama keeps, by name: folders as Ollama writes them, with a tiny model.   test_ollama.py FASTKV MODEL.gguf"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

KIND = 'application/vnd.ollama.image.'


class Folder:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        (self.path / 'blobs').mkdir(parents=True)

    def blob(self, content):
        digest = hashlib.sha256(content).hexdigest()
        (self.path / 'blobs' / f'sha256-{digest}').write_bytes(content)
        return f'sha256:{digest}'

    def add(self, place, *layers):
        manifest = self.path / 'manifests' / place
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps({'schemaVersion': 2, 'layers': [{'mediaType': KIND + kind, 'digest': d} for kind, d in layers]}))


def main():
    program, model = sys.argv[1], pathlib.Path(sys.argv[2]).read_bytes()
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        home = pathlib.Path(temporary)
        f = Folder(home / '.ollama/models')
        gguf = f.blob(model)
        f.add('some.host/library/hello/latest', ('model', gguf), ('template', f.blob(b'{{ .Prompt }}')))
        f.add('some.host/library/hello/tiny', ('template', f.blob(b'<|im_start|>user {{ .Prompt }}<|im_end|>')), ('model', gguf), ('projector', gguf))
        f.add('other.host/some/hello/Q4', ('license', gguf), ('model; type=gguf', gguf))
        f.add('some.host/library/lora/latest', ('model', gguf), ('adapter', gguf))
        f.add('some.host/library/parts/latest', ('tensor; name=x', gguf), ('tensor; name=y', gguf))
        f.add('some.host/library/nothing/latest', ('license', gguf), ('model', 'sha256:../../../etc/passwd'))
        f.add('some.host/library/gone/latest', ('model', 'sha256:' + 'a' * 64))
        (home / '.ollama/models/manifests/some.host/library/text').mkdir()
        (home / '.ollama/models/manifests/some.host/library/text/latest').write_text('not JSON')

        def run(name, wanted, folder=None, arguments=('--raw', '-p', 'x', '-n', '1', '--temp', '0'), command='run'):
            nonlocal failures
            environment = {'HOME': temporary, 'PATH': os.environ['PATH'], 'FASTKV_ISA': 'reference'} | ({'OLLAMA_MODELS': str(folder)} if folder else {})
            done = subprocess.run([program, command, '-m', name, *arguments], capture_output=True, text=True, env=environment, timeout=120)
            lines = done.stderr.splitlines()
            good = done.returncode == 0 and wanted in done.stdout if not wanted.startswith('error') else \
                done.returncode == 1 and lines and lines[-1].startswith('fastkv: ' + wanted)
            if not good:
                failures += 1
                print(f'{name}: expected {wanted!r}, got {done.returncode}, {done.stdout!r}, {done.stderr!r}')
            return done.stderr

        for name in ('hello', 'hello:latest', 'hello:tiny', 'some/hello:Q4', 'other.host/some/hello:Q4', 'some.host/library/hello'):
            run('ollama:' + name, 'hello')
        # a file without a template: the built-in one whose marks Ollama's has
        bare = f.blob(model.replace(b'tokenizer.chat_template', b'tokenizer.no_template__'))
        f.add('some.host/library/bare/latest', ('model', bare), ('template', f.blob(b'<start_of_turn>user {{ .Prompt }}<end_of_turn>')))
        f.add('some.host/library/bare/odd', ('model', bare), ('template', f.blob(b'{{ .Prompt }}')))
        message = ('-p', 'hello', '-n', '1', '--temp', '0')
        prompts = {name: run(*name, 'hello', arguments=(*message, *more))
                   for name, more in ((('ollama:bare',), ()), (('ollama:bare:odd',), ('--chat-template', 'gemma')), (('ollama:hello',), ('--chat-template', 'chatml')))}
        same, gemma, other = (next(line for line in text.splitlines() if line.startswith('plan')).split()[1] for text in prompts.values())
        if not same == gemma != other:
            failures += 1
            print(f'prompts of {same}, {gemma} and {other} tokens: expected the first two alike')
        run('ollama:bare:odd', 'error: the model has no chat template', arguments=message)
        shutil.rmtree(home / '.ollama/models/manifests/some.host/library/bare')
        there = 'some/hello:Q4, gone:latest, hello:latest, hello:tiny, lora:latest, nothing:latest, parts:latest, text:latest'
        run('ollama:hell', 'error: -m ollama:hell: Ollama has no such model here; it has other.host/' + there)
        run('ollama:hello:Q4', 'error: -m ollama:hello:Q4: Ollama has no such model here')
        run('ollama:../hello', 'error: -m ollama:../hello: Ollama has no such model here')
        run('ollama:', 'error: -m: expected ollama:NAME or ollama:NAME:TAG, found ollama:')
        run('ollama:lora', 'error: -m ollama:lora: it is a model and a LoRA adapter, which are not applied')
        run('ollama:parts', 'error: -m ollama:parts: its weights are in a file for each tensor')
        run('ollama:nothing', f'error: -m ollama:nothing: {home}/.ollama/models/manifests/some.host/library/nothing/latest: expected a layer with a model in a GGUF')
        run('ollama:gone', f'error: -m ollama:gone: {home}/.ollama/models/blobs/sha256-aaa')
        run('ollama:text', f'error: -m ollama:text: {home}/.ollama/models/manifests/some.host/library/text/latest: expected a manifest of Ollama')
        run('ollama:hello', 'error: -m ollama:hello: there are no models of Ollama\'s in ' + temporary, folder=home)
        shutil.copytree(home / '.ollama/models', home / 'elsewhere')
        shutil.rmtree(home / '.ollama')
        run('ollama:hello', 'hello', folder=home / 'elsewhere')
        run('ollama:hello', 'error: -m ollama:hello: there are no models of Ollama\'s in the usual folders; OLLAMA_MODELS can name another')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
