"""A contestant: a process that answers the bench's requests, a JSON line each, so that several take turns."""

import json
import os
import select
import subprocess
import tempfile

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
ONE_THREAD["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"


class ContestantError(Exception):
    """What a contestant could not do. exit_code is the bench's, if it ends of this."""

    def __init__(self, message, exit_code=1):
        super().__init__(message)
        self.exit_code = exit_code


class Contestant:
    """cores: the process is confined to these; None: to none. environment: replaces these variables of this
    process's own; an empty value removes one."""

    def __init__(self, name, command, environment=None, cores=None):
        self.name = name
        self._errors = tempfile.TemporaryFile("w+")
        changed = {**os.environ, **(environment or {})}
        confine = (lambda: os.sched_setaffinity(0, cores)) if cores else None
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                preexec_fn=confine,
                env={name: value for name, value in changed.items() if value},
            )
        except OSError as error:
            self._errors.close()
            raise ContestantError(f"{name}: {command[0]}: {error.strerror}") from error

    def ask(self, operation, timeout=900, **fields):
        """The reply to one request. Throws ContestantError with the contestant's own message."""
        try:
            self._process.stdin.write(json.dumps({"op": operation, **fields}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            self.close()
            raise ContestantError(f"{self.name}: no answer to '{operation}' within {timeout} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        reply = json.loads(line)
        if "error" in reply:
            raise ContestantError(f"{self.name}: {reply['error']}", reply.get("exit_code", 1))
        return reply

    def _died(self):
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return ContestantError(f"{self.name}: ended with code {code}" + (f": {lines[-1]}" if lines else ""))

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            try:
                stream.close()
            except BrokenPipeError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
