"""The guardian: a shell that ends the run's children when the agent is gone without having ended them (SIGKILL)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable

# Each line is the list of sessions as it now is. The end of the pipe is the end of the agent, whatever ended it: the
# kernel closes it. Sessions, not process groups: some versions of the docker command give a plugin a group of its own.
_SCRIPT = """
sessions=
while read -r line; do sessions=$line; done
[ -n "$sessions" ] || exit 0
members() {
    for stat in /proc/[0-9]*/stat; do
        read -r line <"$stat" || continue
        set -- ${line##*) }
        case "$1 $sessions " in [!ZX]*" $4 "*) echo "${line%% *}" ;; esac
    done
}
hundredths() { read -r up _ </proc/uptime && echo "${up%.*}${up#*.}"; }
end=$(($(hundredths) + 200))
kill -s TERM $(members)
while [ -n "$(members)" ]; do
    [ "$(hundredths)" -lt "$end" ] || { kill -s KILL $(members); exit; }
    sleep 0.1
done
"""
_NAME = "delphi-agent-guardian"
# What asks an agent to end. Blocked before the shell exists: it could not ignore them before its first line.
_NOT_FOR_IT = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
# It has nothing to do at the end of a run that has ended its children.
_CLOSE_SECONDS = 1.0


class Guardian:
    """Ends the sessions that it was last told, as soon as the agent's process is gone: TERM, up to 2 s, KILL.

    One process, started when it is first needed, in a session of its own, with none of the agent's files: neither the
    lock nor the pipe of a caller who waits for the agent's output to end. It ends with the run. PR_SET_PDEATHSIG would
    not do: it comes when the thread ends that forked, not the process, and a plugin that the child started lives on.

    A session is told only while its leader is not reaped, so that its number cannot be another's. A child is told once
    it is started: one whose agent is killed in the half millisecond before that is known to nobody.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    def start(self) -> None:
        """Have it at work, before the first child is; an `OSError` when the system has no process left."""
        if self._process is not None:
            return
        read, write = os.pipe()
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_IT)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the script is ours, and takes no argument
                ["/bin/sh", "-c", _SCRIPT, _NAME],
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin"},
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(write)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
            os.close(read)
        # One that somebody has stopped must not hold up the run.
        os.set_blocking(write, False)
        self._pipe = write

    def watch(self, sessions: Iterable[int]) -> None:
        """From now on these sessions, and no others, end with the agent."""
        line = " ".join(str(session) for session in sessions).encode() + b"\n"
        # What can fail a second time is left: the roster is there too, and a boot is worth more than its guardian.
        with contextlib.suppress(OSError):
            try:
                os.write(self._pipe, line)
            except BrokenPipeError:
                # Somebody has ended it: another takes its place.
                self.close()
                self.start()
                os.write(self._pipe, line)

    def close(self) -> None:
        """Let go: it ends what it was last told, which is nothing at the end of a run, and then itself."""
        if self._process is None:
            return
        os.close(self._pipe)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSE_SECONDS)
        self._process, self._pipe = None, -1
