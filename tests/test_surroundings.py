#!/usr/bin/env python3
"""The program in hostile surroundings: other libraries' settings, no address space, no threads. It runs as ever, or says in one line why not.

test_surroundings.py PROGRAM MODEL    MODEL: a small one whose answer is known, in F32, so that BLAS is asked for too"""
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM, MODEL = (os.path.abspath(p) for p in sys.argv[1:3])
PATIENCE_S = 60
SETTINGS = {
    'OMP_NUM_THREADS': ('1', '64', '0', '-1', 'many', '1,1,1', '999999999'),
    'OMP_THREAD_LIMIT': ('1', '2', '0', 'x'),
    'OMP_MAX_ACTIVE_LEVELS': ('0', '1', '99', '-1', 'x'),
    'OMP_DYNAMIC': ('true', 'x'),
    'OMP_NESTED': ('true', 'x'),
    'OMP_SCHEDULE': ('static,1', 'x'),
    'OMP_STACKSIZE': ('1', '100G', 'x'),
    'GOMP_STACKSIZE': ('1', 'x'),
    'OMP_WAIT_POLICY': ('active', 'passive', 'x'),
    'GOMP_SPINCOUNT': ('infinity', '0', 'x'),
    'OMP_PROC_BIND': ('true', 'spread', 'x'),
    'OMP_PLACES': ('{99}', 'cores', '{0},{0}', 'x'),
    'GOMP_CPU_AFFINITY': ('0', '99', 'x'),
    'GOMP_DEBUG': ('1',),
    'OMP_CANCELLATION': ('true',),
    'OMP_DISPLAY_ENV': ('true', 'verbose'),
    'OMP_DEFAULT_DEVICE': ('7',),
    'OMP_TARGET_OFFLOAD': ('mandatory',),
    'OPENBLAS_NUM_THREADS': ('0', '64', 'x'),
    'OPENBLAS_CORETYPE': ('x',),
}


def run(*arguments, prepare=None, **settings):
    env = {k: v for k, v in os.environ.items() if not k.startswith(('OMP_', 'GOMP_', 'OPENBLAS_'))}
    return subprocess.run([PROGRAM, *arguments], env={**env, **settings}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S,
                          preexec_fn=prepare)


def answer(*arguments, **how):
    return run('run', '-m', MODEL, '--raw', '-p', 'x' * 40, '--temp', '0', '-n', '8', '-t', '2', *arguments, **how)


class Surroundings(unittest.TestCase):
    def expect_one_error_line(self, p):
        lines = [line for line in p.stderr.splitlines() if line.startswith('fastkv: error: ')]
        self.assertEqual((p.returncode, len(lines), p.stderr.splitlines()[-1:]), (1, 1, lines), p.stderr)

    def test_settings_of_other_libraries(self):
        plain = answer()
        self.assertEqual(plain.returncode, 0, plain.stderr)
        for name, values in SETTINGS.items():
            for value in values:
                with self.subTest(setting=f'{name}={value}'):
                    p = answer(**{name: value})
                    self.assertEqual((p.returncode, p.stdout), (0, plain.stdout), p.stderr)

    def test_binding_leaves_all_cores(self):
        def threads(**settings):
            p = answer('-t', '0', **settings)
            return re.findall(r' \d+ threads?\n', p.stderr)
        plain = threads()
        self.assertEqual(len(plain), 1)
        for setting in ({'OMP_PROC_BIND': 'true'}, {'OMP_PLACES': 'cores'}, {'OMP_PROC_BIND': 'spread', 'OMP_STACKSIZE': '16M'}):
            with self.subTest(setting=setting):
                self.assertEqual(threads(**setting), plain)

    def test_little_address_space(self):
        plain, ran = answer(), 0
        for mib in list(range(16, 256, 24)) + list(range(256, 1300, 128)):
            with self.subTest(mib=mib):
                def limit():
                    resource.setrlimit(resource.RLIMIT_AS, (mib << 20, mib << 20))
                version = run('--version', prepare=limit)
                if version.returncode == 127:
                    continue  # the loader of programs has no room itself
                self.assertEqual((version.returncode, version.stdout[:7]), (0, 'fastkv '), version.stderr)
                p = answer(prepare=limit)
                if p.returncode:
                    self.expect_one_error_line(p)
                else:
                    self.assertEqual(p.stdout, plain.stdout)
                    ran += 1
        self.assertGreater(ran, 0)

    def test_no_threads(self):
        """Only for root, who can become somebody with a limit."""
        if os.getuid() != 0:
            self.skipTest('needs root')
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        program, model = shutil.copy(PROGRAM, folder), shutil.copy(MODEL, folder)

        user = 20000 + os.getpid() % 40000  # nobody else's, another run of this test among them

        def run_with(processes):
            def limit():
                resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
                os.setgid(user)
                os.setuid(user)
            p = subprocess.run([program, 'run', '-m', model, '--raw', '-p', 'x', '--temp', '0', '-n', '3', '-t', '8'], capture_output=True, text=True,
                               timeout=PATIENCE_S, preexec_fn=limit)
            self.assertEqual(p.returncode, 0, p.stderr)
            return p.stderr
        self.assertIn(' 1 thread\n', run_with(1))
        for processes in range(2, 25):  # as many threads as there may be, and room for who tries how many those are
            with self.subTest(processes=processes):
                self.assertIn(f' {min(processes, 8)} threads\n', run_with(processes))


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=1)
